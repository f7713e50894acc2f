-- The slots that Tidewire and its lab have made, of all databases of the server.
SELECT slot_name::text                                      AS name,
       quote_ident(database)                                AS database,
       slot_name ~ %(pattern)s AND database = current_database() AS is_own,
       slot_name ~ '_wake$'                                 AS is_bookmark,
       active_pid,
       wal_status,
       pg_wal_lsn_diff(
           CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                ELSE pg_current_wal_lsn() END,
           restart_lsn
       )::int8                                              AS retained_bytes
FROM pg_replication_slots
WHERE slot_type = 'logical' AND slot_name ~ '^(tidewire|tidelab)_'
ORDER BY slot_name
