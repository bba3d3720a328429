-- Watches follow their tables: the listener calls refresh_watches every few seconds, and where a superuser migrates, an
-- event trigger calls it inside each DDL, so that nothing happens between.

-- Have one watch follow its table. Returns whether there was anything to follow.
create or replace function notifiws.follow_watch(watch_id integer, target regclass, everything boolean, exact boolean) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    entry notifiws.watch_entry;
    mode text;
    changed boolean := false;
begin
    select * into strict entry from notifiws.watch_entry w where w.id = watch_id;
    if notifiws.shape(target) is null then
        return false;  -- gone, or locked by whoever alters it
    end if;
    mode := notifiws.capture_mode(target, entry.always);
    if mode <> entry.mode then
        update notifiws.watch_entry w set mode = mode, target = target where w.id = watch_id;
        if not exact then
            perform notifiws.capture_failed(watch_id, target, case mode
                when 'row' then 'it became a partition, or part of an inheritance: changes made through its parent may be missing'
                else 'it left a partitioned table or an inheritance' end);
        end if;
        perform notifiws.retrigger(watch_id, 2);
        changed := true;
    elsif everything or entry.shape is distinct from (case mode when 'row' then notifiws.row_shape(target) else notifiws.shape(target) end) then
        perform notifiws.generate(watch_id, target);
        changed := true;
    end if;
    if notifiws.is_partitioned(target) then
        changed := notifiws.follow_parts(watch_id, exact) or changed;
    end if;
    return changed;
end
$$;

-- Generate anew the functions whose table changed its shape (or all, after a migration), and follow partitions that came
-- or went. Returns how many watches had something to follow. Waits for nobody, unless for all.
create or replace function notifiws.refresh_watches(everything boolean default false, exact boolean default false) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    entry record;
    refreshed integer := 0;
    before text := current_setting('lock_timeout');
begin
    if everything then
        perform pg_advisory_xact_lock(1852797033, 5);
    elsif not pg_try_advisory_xact_lock(1852797033, 5) then
        return 0;  -- a watch is under way, or another refresh
    else
        perform set_config('lock_timeout', '100ms', true);  -- a table that is locked is followed next time
    end if;
    for entry in select w.id, w.target from notifiws.watched w where w.target is not null loop
        begin
            if notifiws.follow_watch(entry.id, entry.target, everything, exact) then
                refreshed := refreshed + 1;
            end if;
        exception
            when lock_not_available then
                null;  -- next time
            when others then  -- one table must not keep the others, or a migration, from going on
                raise warning 'notifiws could not renew the capture of %: %', entry.target, sqlerrm;
        end;
    end loop;
    perform set_config('lock_timeout', before, true);
    if refreshed > 0 then
        perform pg_notify('notifiws_config', '');
    end if;
    return refreshed;
end
$$;

-- The event trigger's function. Whatever happens in it, the DDL goes on.
create or replace function notifiws.follow_ddl() returns event_trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_event = 'sql_drop' then
        if not exists (select from pg_event_trigger_dropped_objects() d where d.object_type = 'table' and not d.is_temporary) then
            return;
        end if;
    elsif not exists (select from pg_event_trigger_ddl_commands() d where d.classid = 'pg_class'::regclass and d.schema_name not in ('pg_temp', 'notifiws')) then
        return;
    end if;
    if exists (select from notifiws.watch_entry) then
        perform notifiws.refresh_watches(exact => tg_event <> 'sql_drop');
    end if;
exception when others then
    raise warning 'notifiws could not follow this change of tables: %', sqlerrm;
end
$$;

-- Only a superuser may make event triggers; elsewhere the listener's refresh does, some seconds later.
do $$
begin
    if (select rolsuper from pg_roles where rolname = current_user) then
        drop event trigger if exists notifiws_ddl;
        drop event trigger if exists notifiws_drop;
        create event trigger notifiws_ddl on ddl_command_end when tag in ('ALTER TABLE', 'CREATE TABLE') execute function notifiws.follow_ddl();
        create event trigger notifiws_drop on sql_drop when tag in ('DROP TABLE', 'DROP SCHEMA', 'DROP OWNED') execute function notifiws.follow_ddl();
        alter event trigger notifiws_ddl enable always;
        alter event trigger notifiws_drop enable always;
    end if;
end
$$;
