-- The publication of this deployment.
SELECT quote_ident(pubname)                    AS name,
       pg_has_role(pubowner, 'USAGE')          AS is_ours,
       puballtables                            AS has_all_tables,
       pubviaroot                              AS is_via_root,
       array_remove(ARRAY[
           CASE WHEN NOT pubinsert THEN 'insert' END,
           CASE WHEN NOT pubupdate THEN 'update' END,
           CASE WHEN NOT pubdelete THEN 'delete' END,
           CASE WHEN NOT pubtruncate THEN 'truncate' END
       ], NULL)                                AS missing
FROM pg_publication
WHERE pubname = %(publication)s
