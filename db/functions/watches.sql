-- What is watched, and whether its triggers are in force.

-- Views are replaced, never dropped: others may have been granted them, or built upon them. New columns come last.

-- Each entry with its table as its triggers show it: a dump restored elsewhere gives tables other oids.
create or replace view notifiws.watched as
select w.id, c.oid::regclass as target, coalesce(quote_ident(s.nspname) || '.' || quote_ident(c.relname), w.source) as name, w.channel, w.events, w.columns, w.condition,
       w.snapshot, w.always, w.shape, w.created_at, coalesce(t.enabled, 0) as enabled, coalesce(t.present, 0) as present,
       w.mode, w.stopped, w.numbers
from notifiws.watch_entry w
left join lateral (
    select t.tgrelid as target, count(*) as present, count(*) filter (where t.tgenabled in ('O', 'A')) as enabled
    from pg_trigger t
    where t.tgfoid in (select notifiws.capture_functions(w.id)) and t.tgparentid = 0 and t.tgname !~ '_part$'
    group by t.tgrelid
    order by count(*) desc
    limit 1
) t on true
left join pg_class c on c.oid = coalesce(t.target, w.target)
left join pg_namespace s on s.oid = c.relnamespace;

-- The first thing that is wrong with a watch, null when nothing is. What begins with "changed" loses nothing.
create or replace function notifiws.watch_problem(w notifiws.watched) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
set lock_timeout = '100ms'
as $$
declare
    found text;
    shape text;
begin
    if w.target is null then
        return 'the table is gone: unwatch it';
    end if;
    if w.stopped is not null then
        return format('stopped, since rows would get out that were not meant to: %s: watch it again with another condition', w.stopped);
    end if;
    if exists (select from notifiws.missing_triggers(w.id, w.target, w.events, w.mode) m where m.relation = w.target) then
        return case when notifiws.capture_mode(w.target, w.always) = w.mode then 'triggers are missing: watch it again'
                    else 'the table was attached or inherits: select notifiws.refresh_watches(), or start the listener' end;
    end if;
    select string_agg(distinct t.tgrelid::regclass::text, ', ') into found
    from pg_trigger t
    where t.tgfoid in (select notifiws.capture_functions(w.id)) and t.tgenabled not in ('O', 'A');
    if found is not null then
        return format('triggers are disabled%s: alter table … enable trigger', ' on ' || nullif(found, w.target::text));
    end if;
    if w.always and exists (select from pg_trigger t where t.tgfoid in (select notifiws.capture_functions(w.id)) and t.tgenabled <> 'A') then
        return 'triggers no longer fire always: watch it again';
    end if;
    if notifiws.capture_mode(w.target, w.always) <> w.mode then
        return 'the table was attached, detached or inherits: select notifiws.refresh_watches(), or start the listener';
    end if;
    select string_agg(m.relation::text, ', ') into found from notifiws.missing_triggers(w.id, w.target, w.events, w.mode) m;
    if found is not null then
        return format('partitions whose truncation is not seen: %s: select notifiws.refresh_watches(), or start the listener', found);
    end if;
    select string_agg(l::regclass::text, ', ') into found
    from unnest(notifiws.leaves(w.target)) l join pg_class c on c.oid = l and c.relkind = 'f';
    if found is not null then
        return format('partitions that are foreign tables, where others'' writes are not seen: %s', found);
    end if;
    select format('events were lost at %s (%s): watch it again', i.at, i.message) into found
    from notifiws.incident i where i.watch = w.id order by i.at desc limit 1;
    if found is not null then
        return found;
    end if;
    if not w.always then
        select string_agg(coalesce(r.rolname, 'everybody'), ', ') into found
        from pg_db_role_setting s left join pg_roles r on r.oid = s.setrole
        where s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
          and 'session_replication_role=replica' = any (s.setconfig);
        if found is not null then
            return format('what %s writes fires no trigger, by session_replication_role = replica: watch it with always', found);
        end if;
    end if;
    shape := case w.mode when 'row' then notifiws.row_shape(w.target) else notifiws.shape(w.target) end;
    if shape is null then
        return 'changed perhaps: another transaction has locked the table, ask again';
    end if;
    return case
        when not has_table_privilege(w.target, 'select') then 'changed: grant select on it to ' || current_user || ' again'
        when shape is distinct from w.shape
        then 'changed since: captured by the slow way until the listener or notifiws.refresh_watches() adapts'
        when exists (select from unnest(w.numbers) n where notifiws.column_name(w.target, n) is null
                     or notifiws.column_name(w.target, n) <> all (notifiws.column_names(w.target)))
        then 'changed: a chosen column is gone, the rest is captured' end;
end
$$;

create or replace view notifiws.watches as
select w.channel, w.name as table, w.events, w.columns, w.condition, w.snapshot, w.always,
       problem is null or problem like 'changed%' as in_force, problem, w.created_at, w.mode
from (select w.*, notifiws.watch_problem(w) collate "C" as problem from notifiws.watched w) w;
