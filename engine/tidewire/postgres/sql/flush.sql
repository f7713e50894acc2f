-- Reading writes to the log, too (hints, pruning). What a reader leaves who rolls back is flushed,
-- and streamed, only with the next commit, or after up to 15 s. So a commit of ours that says nothing
-- takes it along, and waits for no standby.
SELECT set_config('synchronous_commit', 'local', true),
       pg_logical_emit_message(true, 'tidewire', '')
WHERE pg_current_wal_flush_lsn() < least(%(lsn)s::pg_lsn, pg_current_wal_insert_lsn())
