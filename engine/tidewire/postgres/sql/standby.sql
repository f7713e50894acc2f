-- Do commits wait for the walsender with this pid? Only some roles are told its priority; the others
-- look for its name, which is that of this connection, in the setting.
SELECT coalesce(
    r.sync_priority > 0,
    EXISTS (
        SELECT
        FROM regexp_matches(
            current_setting('synchronous_standby_names'), '"(?:[^"]|"")+"|[^\s,()"]+', 'g'
        ) AS m (name)
        WHERE lower(btrim(m.name[1], '"')) IN ('*', lower(current_setting('application_name')))
    )
) AS waits
FROM pg_stat_replication r
WHERE r.pid = %(pid)s
