-- What the server must be able to do, in one row.
SELECT current_setting('server_version_num')::int AS version,
       current_setting('wal_level')               AS wal_level,
       current_setting('server_encoding')         AS encoding,
       quote_ident(current_database())            AS database,
       quote_ident(current_user)                  AS role,
       pg_is_in_recovery()                        AS is_standby,
       -- Amazon's servers hand the privilege out as a membership.
       r.rolsuper OR r.rolreplication OR EXISTS (
           SELECT FROM pg_roles g
           WHERE g.rolname = 'rds_replication' AND pg_has_role(g.oid, 'MEMBER')
       )                                          AS may_replicate,
       has_database_privilege(current_database(), 'CREATE') AS may_create
FROM pg_roles r
WHERE r.rolname = current_user
