-- The transactions that have written and are open for longest, of all databases: all are waited for.
SELECT pid,
       usename                                        AS role,
       state,
       extract(epoch FROM now() - xact_start)::float8 AS age_s
FROM pg_stat_activity
WHERE backend_xid IS NOT NULL AND xact_start IS NOT NULL AND pid <> pg_backend_pid()
ORDER BY xact_start
LIMIT 20
