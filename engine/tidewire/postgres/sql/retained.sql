-- How much write-ahead log does a slot keep, and which transaction may hold it back?
SELECT s.restart_lsn                AS restart,
       s.confirmed_flush_lsn        AS confirmed,
       pg_current_wal_insert_lsn()  AS end,
       (SELECT held.text
        FROM (SELECT age(backend_xid) AS age,
                     format('transaction of pid %%s, user %%s, open for %%s s', pid, usename,
                            extract(epoch FROM now() - xact_start)::int) AS text
              FROM pg_stat_activity
              WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
                AND now() - xact_start > make_interval(secs => %(held_s)s)
              UNION ALL
              SELECT age(transaction),
                     format('prepared transaction %%L, user %%s, open for %%s s', gid, owner,
                            extract(epoch FROM now() - prepared)::int)
              FROM pg_prepared_xacts) held
        ORDER BY held.age DESC
        LIMIT 1)                    AS held_by
FROM pg_replication_slots s
WHERE s.slot_name = %(slot)s AND s.restart_lsn IS NOT NULL
