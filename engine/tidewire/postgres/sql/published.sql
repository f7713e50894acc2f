-- Which transaction has published a table, if any, and which will be the next to begin?
SELECT (SELECT r.xmin::text::int8
        FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
        WHERE p.pubname = %(publication)s AND r.prrelid = %(oid)s::oid) AS xmin,
       pg_snapshot_xmax(pg_current_snapshot())::text::int8              AS next
