-- One table as a shape needs to know it; candidates come in order of preference.
WITH wanted AS (
    SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, c.relreplident,
           c.relispartition,
           c.relrowsecurity AND NOT (
               SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user
           ) AS hides_rows,
           has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
               AS may_select
    FROM unnest(%(schemas)s::text[], %(names)s::text[]) WITH ORDINALITY AS w (nspname, relname, n)
    JOIN pg_namespace n ON n.nspname = w.nspname
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.relname
    ORDER BY has_schema_privilege(n.oid, 'USAGE') DESC, w.n
    LIMIT 1
), key_index AS (
    -- The rows of a table are told apart by its replica identity index, or else its primary key.
    -- Columns that the index merely includes come behind those of its key.
    SELECT i.indkey, i.indnkeyatts
    FROM pg_index i, wanted w
    WHERE i.indrelid = w.oid AND i.indimmediate AND i.indisvalid AND i.indisunique
      AND CASE w.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END
)
SELECT w.oid::int8 AS oid, w.nspname AS schema, w.relname AS name, w.relkind::text AS kind,
       w.relpersistence::text AS persistence, w.relreplident::text AS identity,
       w.hides_rows, w.may_select, w.relispartition AS is_partition,
       -- What is quoted can stand in a remedy.
       format('%%I.%%I', w.nspname, w.relname) AS quoted,
       CASE WHEN w.relispartition THEN pg_partition_root(w.oid)::regclass::text END AS root,
       -- What is logged of an old row is the partition's choice, how it is labelled the whole's.
       ARRAY(
           SELECT format('%%I.%%I', m.nspname, l.relname)
           FROM pg_partition_tree(w.oid) t
           JOIN pg_class l ON l.oid = t.relid
           JOIN pg_namespace m ON m.oid = l.relnamespace
           WHERE t.isleaf AND t.relid <> w.oid
             AND l.relreplident <> ALL (CASE w.relreplident
                 WHEN 'f' THEN '{f}' WHEN 'i' THEN '{i,f}' ELSE '{d,f}' END::"char"[])
           ORDER BY m.nspname, l.relname
       ) AS poorer,
       (SELECT json_build_object('name', quote_ident(x.relname), 'columns', json_agg(
                   quote_ident(a.attname) ORDER BY k.n))
        FROM pg_index i
        JOIN pg_class x ON x.oid = i.indexrelid,
             unnest(i.indkey) WITH ORDINALITY AS k (attnum, n), pg_attribute a
        WHERE i.indrelid = w.oid AND i.indisprimary AND k.n <= i.indnkeyatts
          AND a.attrelid = w.oid AND a.attnum = k.attnum
        GROUP BY x.relname) AS primary_key,
       (SELECT quote_ident(x.relname)
        FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
        WHERE i.indrelid = w.oid AND i.indisunique AND i.indimmediate AND i.indisvalid
          AND NOT i.indisprimary AND i.indpred IS NULL AND i.indexprs IS NULL
          AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = w.oid
                          AND a.attnum = ANY (i.indkey) AND NOT a.attnotnull)
        ORDER BY i.indnkeyatts, x.relname
        LIMIT 1) AS unique_index,
       (SELECT coalesce(json_agg(json_build_array(a.attname, t.name, a.atttypid::int8, t.as_text)
                                ORDER BY a.attnum), '[]')
        FROM pg_attribute a,
             LATERAL (
                 -- A domain stands for its base type, an array is its element's name with [].
                 WITH RECURSIVE base AS (
                     SELECT y.* FROM pg_type y WHERE y.oid = a.atttypid
                     UNION ALL
                     SELECT y.* FROM pg_type y JOIN base b ON y.oid = b.typbasetype
                 )
                 -- JSON would print these in its own way; all others as their type prints them.
                 SELECT CASE WHEN e.oid IS NULL THEN b.typname ELSE e.typname || '[]' END AS name,
                        b.oid IN ('int8'::regtype, 'numeric'::regtype, 'date'::regtype,
                                  'timestamp'::regtype, 'timestamptz'::regtype)
                        OR b.typcategory = 'A' OR b.typtype = 'c'
                        OR EXISTS (SELECT FROM pg_cast x
                                   WHERE x.castsource = b.oid AND x.casttarget = 'json'::regtype
                                     AND b.oid >= 16384) AS as_text
                 FROM base b
                 LEFT JOIN pg_type e ON b.typcategory = 'A' AND e.oid = b.typelem
                 WHERE b.typtype <> 'd'
             ) t
        WHERE a.attrelid = w.oid AND a.attnum > 0 AND NOT a.attisdropped
          AND a.attgenerated = '') AS columns,
       (SELECT coalesce(json_agg(a.attname), '[]') FROM pg_attribute a
        WHERE a.attrelid = w.oid AND a.attnum > 0 AND NOT a.attisdropped
          AND a.attgenerated <> '') AS generated,
       (SELECT json_agg(a.attname ORDER BY k.n)
        FROM key_index i, unnest(i.indkey) WITH ORDINALITY AS k (attnum, n), pg_attribute a
        WHERE a.attrelid = w.oid AND a.attnum = k.attnum AND k.n <= i.indnkeyatts) AS key
FROM wanted w
