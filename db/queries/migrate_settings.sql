-- For the migrating transaction alone. $1 lock timeout. Functions may name what a later file makes.
select set_config('lock_timeout', $1, true), set_config('check_function_bodies', 'off', true),
       set_config('client_min_messages', 'warning', true), set_config('search_path', 'pg_catalog, pg_temp', true)
