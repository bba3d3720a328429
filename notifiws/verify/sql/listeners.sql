-- End every session of listeners and nodes. → how many
select count(pg_terminate_backend(pid)) from pg_stat_activity
where application_name like 'notifiws%' and application_name not like 'notifiws verify%'
  and datname = current_database() and pid <> pg_backend_pid()
