-- The columns of one table as conditions need to know them.
WITH RECURSIVE here AS (
    SELECT to_jsonb(d) AS facts, pg_encoding_to_char(d.encoding) AS encoding
    FROM pg_database d WHERE d.datname = current_database()
), collations AS (
    -- The columns of these catalogs have other names in other versions.
    SELECT c.oid, c.collisdeterministic AS is_deterministic,
           CASE c.collprovider
               WHEN 'd' THEN coalesce(h.facts ->> 'datlocprovider', 'c')
               ELSE c.collprovider::text
           END AS provider,
           CASE c.collprovider
               WHEN 'd' THEN h.facts ->> 'datcollate'
               ELSE to_jsonb(c) ->> 'collcollate'
           END AS locale,
           h.encoding
    FROM pg_collation c, here h
), base AS (
    SELECT a.attnum, y.* FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid
    WHERE a.attrelid = %(oid)s
    UNION ALL
    SELECT b.attnum, y.* FROM base b JOIN pg_type y ON y.oid = b.typbasetype
)
SELECT a.attname AS name, a.atttypid::int8 AS oid, b.oid::int8 AS base_oid,
       b.typtype::text AS type_kind, n.nspname AS type_schema, b.typname AS type_name,
       (SELECT coalesce(json_agg(e.enumlabel ORDER BY e.enumsortorder), '[]')
        FROM pg_enum e WHERE e.enumtypid = b.oid) AS labels,
       coalesce(c.is_deterministic, true) AS is_deterministic,
       -- In these, UTF-8 text has the order of its bytes.
       c.oid IS NULL OR c.encoding IN ('UTF8', 'LATIN1') AND (
           c.provider = 'b' OR c.provider = 'c'
           AND lower(c.locale) IN ('c', 'posix', 'c.utf-8', 'c.utf8')
       ) AS is_bytewise
FROM pg_attribute a
JOIN base b ON b.attnum = a.attnum AND b.typtype <> 'd'
JOIN pg_namespace n ON n.oid = b.typnamespace
LEFT JOIN collations c ON c.oid = a.attcollation
-- Generated columns are not in the stream.
WHERE a.attrelid = %(oid)s AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
ORDER BY a.attnum
