-- Has every transaction before this one ended? If not: who is the oldest?
SELECT pg_snapshot_xmin(pg_current_snapshot()) >= %(xid)s::xid8 AS is_settled,
       (SELECT format('pid %%s, user %%s, open for %%s s', pid, usename,
                      extract(epoch FROM now() - xact_start)::int)
        FROM pg_stat_activity
        WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
        ORDER BY age(backend_xid) DESC
        LIMIT 1) AS oldest
