-- Who holds the log's advisory locks: key 1 leader, 2 doorbell, 3 migrate, 4 cut, 5 watch and unwatch.
-- → key int, pid int (null: a prepared transaction), exclusive boolean, application text, role text, state text,
-- seconds float8 since its transaction began (null: none is open)
select l.objid::bigint::integer as key, l.pid, l.mode = 'ExclusiveLock' as exclusive, a.application_name as application,
       a.usename::text as role, a.state, extract(epoch from clock_timestamp() - a.xact_start)::float8 as seconds
from pg_locks l
left join pg_stat_activity a on a.pid = l.pid
where l.locktype = 'advisory' and l.classid = 1852797033 and l.objsubid = 2 and l.granted
  and l.database = (select oid from pg_database where datname = current_database())
order by key, l.pid
