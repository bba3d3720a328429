-- Who holds a lock of the listener's and is no listener of ours: a session of a role that ours has no reason to trust,
-- or one of another name, or a prepared transaction. Key 1 leader, 2 doorbell (held exclusively: writers share it),
-- 4 cut. → key int, pid int (null: a prepared transaction), role text, application text
select l.objid::bigint::integer as key, l.pid, a.usename::text as role, a.application_name as application
from pg_catalog.pg_locks l
left join pg_catalog.pg_stat_activity a on a.pid = l.pid
cross join (select oid, rolsuper from pg_catalog.pg_roles where rolname = current_user) me
where l.locktype = 'advisory' and l.classid = 1852797033 and l.objsubid = 2 and l.granted
  and l.database = (select oid from pg_catalog.pg_database where datname = current_database())
  and (l.objid in (1, 4) or l.objid = 2 and l.mode = 'ExclusiveLock')
  and (a.application_name = case l.objid when 2 then 'notifiws doorbell' else 'notifiws relay' end
       and (pg_catalog.pg_has_role(a.usesysid, me.oid, 'usage')
            or a.usesysid = (select datdba from pg_catalog.pg_database where datname = current_database())
            or not me.rolsuper and pg_catalog.pg_has_role(me.oid, a.usesysid, 'usage'))) is not true
order by key, l.pid
