-- Where the write-ahead log ends now, and the size of its segments.
SELECT pg_current_wal_insert_lsn()::text AS lsn,
       (SELECT setting::int8 FROM pg_settings WHERE name = 'wal_segment_size') AS segment_bytes
