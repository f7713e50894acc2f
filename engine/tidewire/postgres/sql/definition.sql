-- What tables are now; `core/shape/definition.py` compares. It takes no lock, as functions that
-- print definitions would: a poll must not wait for somebody's ALTER TABLE.
WITH RECURSIVE wanted AS (
    SELECT c.*, n.nspname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = ANY (%(oids)s::oid[])
), part AS (
    SELECT w.oid AS root, w.oid, 0::int8 AS attached_by FROM wanted w WHERE w.relkind = 'p'
    UNION ALL
    -- A partition that is being detached is not read any more.
    SELECT p.root, i.inhrelid, i.xmin::text::int8
    FROM part p JOIN pg_inherits i ON i.inhparent = p.oid AND NOT i.inhdetachpending
), type AS (
    -- Types that values are made of: of domains their base, of arrays their element, and so on.
    SELECT DISTINCT a.atttypid AS of_column, a.atttypid AS oid
    FROM pg_attribute a JOIN wanted w ON w.oid = a.attrelid
    WHERE a.attnum > 0 AND NOT a.attisdropped
    UNION
    SELECT t.of_column, inside.oid
    FROM type t JOIN pg_type y ON y.oid = t.oid, LATERAL (
        SELECT y.typbasetype WHERE y.typtype = 'd'
        UNION ALL
        SELECT y.typelem WHERE y.typcategory = 'A'
        UNION ALL
        SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = y.oid
        UNION ALL
        SELECT m.atttypid FROM pg_attribute m
        WHERE y.typtype = 'c' AND m.attrelid = y.typrelid AND m.attnum > 0 AND NOT m.attisdropped
    ) inside (oid)
), label AS (
    SELECT t.of_column, t.oid, e.enumsortorder AS place, e.oid AS entry,
           format('%%s %%s', t.oid, e.enumlabel) AS text
    FROM type t JOIN pg_enum e ON e.enumtypid = t.oid
    UNION ALL
    SELECT t.of_column, t.oid, 0, y.oid,
           format('%%s %%s', t.oid, json_agg(json_build_array(m.attnum, m.atttypid) ORDER BY m.attnum))
    FROM type t JOIN pg_type y ON y.oid = t.oid AND y.typtype = 'c'
    JOIN pg_attribute m ON m.attrelid = y.typrelid AND m.attnum > 0 AND NOT m.attisdropped
    GROUP BY t.of_column, t.oid, y.oid
)
SELECT w.oid::int8 AS oid, w.nspname AS schema, w.relname AS name,
       w.relreplident::text AS identity, w.relfilenode::int8 AS file,
       CASE
           WHEN NOT has_schema_privilege(w.relnamespace, 'USAGE')
             OR NOT has_table_privilege(w.oid, 'SELECT') THEN 'this role may not read it any more'
           WHEN w.relispartition THEN 'it is a partition now'
           WHEN w.relpersistence <> 'p' THEN 'it is unlogged now'
           WHEN w.relrowsecurity AND NOT (
               SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user
           ) THEN 'it has row-level security now'
           -- As in table.sql, whose function would take locks.
           WHEN EXISTS (
               SELECT FROM part p JOIN pg_class l ON l.oid = p.oid AND l.relkind = 'r'
               WHERE p.root = w.oid AND l.relreplident <> ALL (CASE w.relreplident
                   WHEN 'f' THEN '{f}' WHEN 'i' THEN '{i,f}' ELSE '{d,f}' END::"char"[])
           ) THEN 'a partition tells less of old rows than the table'
       END AS obstacle,
       (SELECT r.oid::int8
        FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
        WHERE p.pubname = %(publication)s AND r.prrelid = w.oid) AS publication,
       -- As in table.sql.
       (SELECT coalesce(json_agg(a.attname ORDER BY k.n), '[]')
        FROM pg_index i, unnest(i.indkey) WITH ORDINALITY AS k (attnum, n), pg_attribute a
        WHERE i.indrelid = w.oid AND i.indimmediate AND i.indisvalid AND i.indisunique
          AND CASE w.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END
          AND a.attrelid = w.oid AND a.attnum = k.attnum AND k.n <= i.indnkeyatts) AS key,
       (SELECT coalesce(json_agg(json_build_array(
                   a.attnum, a.attname, a.atttypid::int8, a.xmin::text::int8,
                   (SELECT coalesce(json_agg(json_build_array(l.entry::int8, l.text)
                                             ORDER BY l.oid, l.place), '[]')
                    FROM label l WHERE l.of_column = a.atttypid)
               ) ORDER BY a.attnum), '[]')
        FROM pg_attribute a
        WHERE a.attrelid = w.oid AND a.attnum > 0 AND NOT a.attisdropped
          AND a.attgenerated = '') AS columns,
       (SELECT coalesce(json_agg(json_build_array(
                   c.oid::int8, c.relfilenode::int8,
                   -- Who attaches a table writes all its columns again.
                   EXISTS (SELECT FROM pg_attribute a, pg_type y
                           WHERE a.attrelid = c.oid AND a.attnum > 0 AND y.oid = c.reltype
                             AND a.xmin = y.xmin AND a.cmin = y.cmin),
                   p.attached_by
               ) ORDER BY c.oid), '[]')
        FROM part p JOIN pg_class c ON c.oid = p.oid
        WHERE p.root = w.oid AND p.oid <> w.oid) AS partitions
FROM wanted w
