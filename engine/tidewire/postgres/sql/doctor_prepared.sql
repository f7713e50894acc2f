-- The prepared transactions that have waited for longest.
SELECT gid                                          AS id,
       quote_ident(database)                        AS database,
       extract(epoch FROM now() - prepared)::float8 AS age_s
FROM pg_prepared_xacts
ORDER BY prepared
LIMIT 20
