-- Open transactions of this database, oldest first. $1 least age in seconds (float8).
-- → pid int, role text, application text, state text, seconds float8
select pid, usename::text as role, application_name as application, coalesce(state, 'active') as state,
       extract(epoch from clock_timestamp() - xact_start)::float8 as seconds
from pg_stat_activity
where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
  and xact_start < clock_timestamp() - make_interval(secs => $1)
order by xact_start
limit 5
