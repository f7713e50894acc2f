-- The snapshot of this transaction, and where the write-ahead log ends just behind it.
SELECT pg_current_snapshot()::text              AS snapshot,
       pg_current_wal_insert_lsn()::text        AS lsn,
       (SELECT setting::int8 FROM pg_settings WHERE name = 'wal_segment_size') AS segment_bytes,
       pg_is_in_recovery()                      AS is_standby,
       c.oid::int8                              AS oid
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relname = %(name)s
