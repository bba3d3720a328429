-- Triggers of the customer's whose function sends NOTIFY. → table text, relkind text, trigger text, source text, type int:
-- pg_trigger.tgtype, narrowed boolean: it has a WHEN or a list of columns
select c.oid::regclass::text as table, c.relkind::text, t.tgname::text as trigger, p.prosrc as source, t.tgtype::integer as type,
       t.tgqual is not null or t.tgattr <> ''::int2vector as narrowed
from pg_trigger t
join pg_class c on c.oid = t.tgrelid
join pg_proc p on p.oid = t.tgfoid
where not t.tgisinternal and t.tgparentid = 0 and t.tgenabled <> 'D'
  and p.pronamespace is distinct from to_regnamespace('notifiws') and p.prosrc ~* '\m(pg_notify|notify)\M'
order by 1, 3
limit 100
