-- How a table stands in the database: its rights, and its publication.
SELECT quote_ident(o.rolname)               AS owner,
       o.rolsuper                           AS owner_is_superuser,
       pg_has_role(c.relowner, 'USAGE')     AS is_owner,
       quote_ident(n.nspname)               AS schema,
       has_schema_privilege(n.oid, 'USAGE') AS may_use_schema,
       has_table_privilege(c.oid, 'SELECT') AS may_select,
       r.oid IS NOT NULL                    AS is_published,
       -- PostgreSQL 14 has neither of these columns.
       coalesce(to_jsonb(r) ->> 'prqual', to_jsonb(r) ->> 'prattrs') IS NOT NULL AS is_narrowed
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_roles o ON o.oid = c.relowner
LEFT JOIN pg_publication p ON p.pubname = %(publication)s
LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
WHERE c.oid = %(oid)s::oid
