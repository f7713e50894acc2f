-- The snapshot of this transaction, and where the write-ahead log ends just behind it.
SELECT pg_current_snapshot()::text              AS snapshot,
       pg_current_wal_insert_lsn()::text        AS lsn,
       pg_size_bytes(current_setting('wal_segment_size')) AS segment_bytes,
       pg_is_in_recovery()                      AS is_standby,
       c.oid::int8                              AS oid,
       (SELECT json_object_agg(a.attname, a.atttypid::int8) FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relname = %(name)s
