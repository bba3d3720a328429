-- Whether schema notifiws has its meta table. Needs no right on it. → one boolean
select exists (select from pg_catalog.pg_class where relname = 'meta' and relnamespace = to_regnamespace('notifiws'))
