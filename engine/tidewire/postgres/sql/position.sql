-- Where the write-ahead log ends now, and the size of its segments.
SELECT pg_current_wal_insert_lsn()::text AS lsn,
       pg_size_bytes(current_setting('wal_segment_size')) AS segment_bytes
