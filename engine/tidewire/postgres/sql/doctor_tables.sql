-- The names of the tables to look at, when the settings name none: those that are published, or all.
SELECT n.nspname || '.' || c.relname AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE CASE WHEN %(all)s
           THEN c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
                AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
           ELSE EXISTS (
               SELECT FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
               WHERE p.pubname = %(publication)s AND r.prrelid = c.oid
           )
      END
ORDER BY n.nspname, c.relname
