-- The schemas that a publication holds as a whole; PostgreSQL 14 has no such catalog.
SELECT quote_ident(n.nspname) AS name
FROM pg_publication p
JOIN pg_publication_namespace s ON s.pnpubid = p.oid
JOIN pg_namespace n ON n.oid = s.pnnspid
WHERE p.pubname = %(publication)s
ORDER BY n.nspname
