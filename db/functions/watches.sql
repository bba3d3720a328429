-- What is watched, and whether its triggers are in force.

-- Views are replaced, never dropped: others may have been granted them, or built upon them. New columns come last.

-- Each entry with its table as its triggers show it: a dump restored elsewhere gives tables other oids.
create or replace view notifiws.watched as
select w.id, c.oid::regclass as target, coalesce(quote_ident(s.nspname) || '.' || quote_ident(c.relname), w.source) as name, w.channel, w.events, w.columns, w.condition,
       w.snapshot, w.always, w.shape, w.created_at, coalesce(t.enabled, 0) as enabled, coalesce(t.present, 0) as present
from notifiws.watch_entry w
left join lateral (
    select t.tgrelid as target, count(*) as present, count(*) filter (where t.tgenabled in ('O', 'A')) as enabled
    from pg_trigger t
    where t.tgfoid in (select notifiws.capture_functions(w.id))
    group by t.tgrelid
    order by count(*) desc
    limit 1
) t on true
left join pg_class c on c.oid = coalesce(t.target, w.target)
left join pg_namespace s on s.oid = c.relnamespace;

create or replace view notifiws.watches as
select w.channel, w.name as table, w.events, w.columns, w.condition, w.snapshot, w.always,
       problem is null or problem like 'changed%' as in_force, problem, w.created_at
from (
    select w.*,
        case
            when w.target is null then 'the table is gone: unwatch it'
            when w.present < cardinality(w.events) then 'triggers are missing: watch it again'
            when w.enabled < cardinality(w.events) then 'triggers are disabled: alter table … enable trigger'
            when i.message is not null then 'events were lost at ' || i.at || ' (' || i.message || '): watch it again'
            when not has_table_privilege(w.target, 'select') then 'changed: grant select on it to ' || current_user || ' again'
            when notifiws.shape(w.target) <> w.shape then 'changed since: captured by the slow way until the listener or notifiws.refresh_watches() adapts'
            when cardinality(w.columns) > (select count(*) from pg_attribute a where a.attrelid = w.target
                 and a.attname = any (w.columns) and not a.attisdropped) then 'changed: a chosen column is gone, the rest is captured'
        end as problem
    from notifiws.watched w
    left join lateral (select * from notifiws.incident i where i.watch = w.id order by i.at desc limit 1) i on true
) w;
