-- Where Postgres keeps its data, for those who may know (pg_read_all_settings), and by what its postmaster.pid there is
-- told from another's. → folder text (null: hidden), port int, started float8
select (select setting from pg_catalog.pg_settings where name = 'data_directory') as folder,
       current_setting('port')::integer as port, extract(epoch from pg_postmaster_start_time())::float8 as started
