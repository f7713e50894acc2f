-- The slots of this deployment: names end in a random token.
SELECT slot_name                AS name,
       active_pid,
       confirmed_flush_lsn      AS confirmed,
       wal_status = 'lost'      AS is_lost,
       database = current_database() AS is_here
FROM pg_replication_slots
WHERE slot_name ~ %(pattern)s
ORDER BY slot_name
