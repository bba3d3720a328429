-- For one of doctor's transactions: names are the catalogs', and no question of ours keeps anybody waiting.
select set_config('search_path', 'pg_catalog, pg_temp', true), set_config('statement_timeout', '5s', true),
       set_config('lock_timeout', '1s', true)
