-- The server's settings that matter, and how much of them is in use; some are not in every version.
WITH walsenders AS (
    SELECT r.application_name, a.datid
    FROM pg_stat_replication r LEFT JOIN pg_stat_activity a ON a.pid = r.pid
)
SELECT current_setting('max_replication_slots')::int              AS slots_max,
       (SELECT count(*)::int FROM pg_replication_slots)           AS slots_used,
       current_setting('max_wal_senders')::int                    AS walsenders_max,
       (SELECT count(*)::int FROM walsenders)                     AS walsenders_used,
       current_setting('max_connections')::int
           - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true)::int, 0)
                                                                  AS connections_max,
       -- Walsenders have room of their own, and this connection will be gone.
       greatest(0, (SELECT sum(numbackends)::int FROM pg_stat_database)
           - (SELECT count(datid)::int FROM walsenders) - 1)      AS connections_used,
       pg_size_bytes(nullif(current_setting('max_slot_wal_keep_size'), '-1'))
                                                                  AS slot_wal_bytes,
       extract(epoch FROM nullif(current_setting('idle_replication_slot_timeout', true), '0')
           ::interval)::float8                                    AS idle_slot_s,
       current_setting('synchronous_standby_names')               AS synchronous_standby_names,
       -- Who follows the whole server is in no database.
       ARRAY(SELECT DISTINCT application_name FROM walsenders WHERE datid IS NULL)
                                                                  AS standbys,
       current_setting('application_name')                        AS application_name,
       ARRAY(SELECT name FROM pg_settings WHERE source = 'command line')
                                                                  AS on_command_line,
       pg_has_role('pg_read_all_stats', 'USAGE')                  AS sees_others,
       has_function_privilege(to_regprocedure('pg_catalog.pg_log_standby_snapshot()'), 'EXECUTE')
                                                                  AS may_log_snapshot
