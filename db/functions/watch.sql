-- notifiws.watch and its opposite. Each watch owns one generated function; dropping the function drops its triggers.

create or replace function notifiws.unsupported(what text, mend text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception 'unsupported: %', what using errcode = 'feature_not_supported', hint = mend;
end
$$;

-- Refuse, by name and with the mend, what this release cannot capture whole.
create or replace function notifiws.check_target(target regclass, chosen text[]) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    rel pg_class;
    name text := target::text;
    wrong text;
begin
    select * into rel from pg_class where oid = target;
    if not found then
        raise exception 'table % does not exist', coalesce(name, 'null') using errcode = 'undefined_table';
    end if;
    if rel.relnamespace in ('pg_catalog'::regnamespace, 'notifiws'::regnamespace, 'information_schema'::regnamespace)
       or rel.relnamespace::regnamespace::text like 'pg_toast%' then
        perform notifiws.unsupported(format('%s is a system table', name), 'watch a table of your own');
    elsif rel.relkind = 'p' then
        perform notifiws.unsupported(format('%s is partitioned: a trigger on it does not see rows written directly to a partition', name),
            'watch each partition, or emit events from your own triggers with notifiws.emit');
    elsif rel.relkind in ('v', 'm') then
        perform notifiws.unsupported(format('%s is a view: it stores no rows that change', name), 'watch the tables that it reads');
    elsif rel.relkind = 'f' then
        perform notifiws.unsupported(format('%s is a foreign table: what others write to it fires no trigger here', name),
            'watch the table in its own database');
    elsif rel.relkind <> 'r' then
        perform notifiws.unsupported(format('%s is not a table', name), 'watch a table');
    elsif rel.relpersistence = 't' then
        perform notifiws.unsupported(format('%s is temporary: only its own session ever sees its rows', name), 'watch a permanent table');
    elsif rel.relispartition then
        perform notifiws.unsupported(format('%s is a partition: its parent''s statements fire no statement trigger here', name),
            'emit events from your own triggers with notifiws.emit');
    elsif exists (select from pg_inherits where inhrelid = target or inhparent = target) then
        perform notifiws.unsupported(format('%s inherits or is inherited from: a statement fires only the triggers of the table that it names', name),
            'emit events from your own triggers with notifiws.emit');
    elsif exists (select from pg_index where indrelid = target and indisprimary and not indimmediate) then
        perform notifiws.unsupported(format('%s has a deferrable primary key, which may be ambiguous inside a transaction', name),
            'make the key not deferrable');
    end if;
    if not has_table_privilege(target, 'select') or not has_table_privilege(target, 'trigger') then
        raise exception '% may not watch table %', current_user, name
            using errcode = 'insufficient_privilege', hint = format('grant select, trigger on %s to %I', name, current_user);
    end if;
    select string_agg(quote_ident(c), ', ') into wrong
    from unnest(chosen) c
    where c is null or not exists (select from pg_attribute where attrelid = target and attname = c and attnum > 0 and not attisdropped);
    if wrong is not null then
        raise exception 'table % has no column %', name, wrong using errcode = 'undefined_column';
    end if;
    select string_agg(quote_ident(attname), ', ') into wrong
    from pg_attribute
    where attrelid = target and attnum > 0 and not attisdropped and attgenerated = 'v'
      and (chosen is null or attname = any (chosen));
    if wrong is not null then
        perform notifiws.unsupported(format('%s has virtual generated columns, which are null in triggers: %s', name, wrong),
            'name the other columns in "columns", or make these STORED');
    end if;
end
$$;

-- The functions of a watch, one an op. Their triggers are found through them.
create or replace function notifiws.capture_functions(watch_id integer) returns setof regprocedure
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select p.oid
    from pg_proc p
    where p.pronamespace = 'notifiws'::regnamespace
      and p.proname = any (array(select 'capture_' || watch_id || '_' || e from unnest('{insert,update,delete,truncate}'::text[]) e))
$$;

-- Generate the functions of a watch for the table's present shape. Touches no lock of the table.
create or replace function notifiws.generate(watch_id integer, target regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    entry notifiws.watch_entry;
    shape text := notifiws.shape(target);
    event text;
    name text;
begin
    if shape is null then
        raise exception 'the shape of table % cannot be read', target;
    end if;
    update notifiws.watch_entry w set target = target, source = target::text, shape = shape
    where w.id = watch_id
    returning w.* into strict entry;
    foreach event in array entry.events loop
        name := 'capture_' || watch_id || '_' || event;
        -- Whatever the writer's session has set, values read the same.
        execute format(
            'create or replace function notifiws.%I() returns trigger language plpgsql security definer '
            'set search_path = pg_catalog, pg_temp set timezone = ''UTC'' set intervalstyle = postgres '
            'set bytea_output = hex set extra_float_digits = 1 set datestyle = ''ISO, MDY'' as %L',
            name, notifiws.capture_body(watch_id, target, entry.channel, entry.columns, event, shape));
        execute format('revoke all on function notifiws.%I() from public', name);
    end loop;
    delete from notifiws.incident where watch = watch_id;
end
$$;

-- Run a statement that needs a table's lock so that writers never queue behind it: short waits, and a pause between.
create or replace function notifiws.with_short_lock(statements text[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    before text := current_setting('lock_timeout');
    statement text;
begin
    for attempt in 1 .. 60 loop
        begin
            perform set_config('lock_timeout', '100ms', true);
            foreach statement in array statements loop
                execute statement;
            end loop;
            perform set_config('lock_timeout', before, true);
            return;
        exception when lock_not_available then
            if attempt = 60 then
                raise exception 'the table is locked by another transaction that does not end'
                    using errcode = 'lock_not_available', hint = 'pg_stat_activity and pg_locks show it; then try again';
            end if;
        end;
        perform pg_sleep(0.05 + random() * 0.2);
    end loop;
end
$$;

-- Everything that watch refuses, without touching the table. Returns the events, each once, in their usual order.
create or replace function notifiws.check_watch(target regclass, channel text, events text[], columns text[],
                                                condition text, always boolean) returns text[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    known text[] := '{insert,update,delete,truncate}';
begin
    perform notifiws.check_channel(channel);
    if target is null then
        raise exception 'watch needs a table' using errcode = 'null_value_not_allowed';
    end if;
    if events is null or cardinality(events) = 0 or not events <@ known or array_position(events, null) is not null then
        raise exception 'events % are not a choice of insert, update, delete, truncate', coalesce(events::text, 'null')
            using errcode = 'invalid_parameter_value';
    end if;
    if condition is not null then
        perform notifiws.unsupported('a watch with a condition is not built yet',
            'leave out the condition; clients can drop what they do not need');
    end if;
    if always is not false then
        perform notifiws.unsupported('a watch that fires under session_replication_role = replica is not built yet',
            'leave out always');
    end if;
    perform notifiws.check_target(target, columns);
    return array(select e from unnest(known) with ordinality as k (e, place) where e = any (events) order by place);
end
$$;

create or replace function notifiws.watch(
    target regclass, channel text, events text[] default '{insert,update,delete,truncate}', columns text[] default null,
    condition text default null, snapshot boolean default true, always boolean default false) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    wanted text[] := notifiws.check_watch(target, channel, events, columns, condition, always);
    entry notifiws.watch_entry;
    triggers text[];
begin
    perform pg_advisory_xact_lock(1852797033, 5);
    select * into entry from notifiws.watch_entry w where w.target = target and w.channel = channel;
    if found and (entry.events <> wanted or (
            select count(*) from pg_trigger t
            where t.tgrelid = target and t.tgfoid in (select notifiws.capture_functions(entry.id))) <> cardinality(wanted)) then
        perform notifiws.unwatch(target, channel);
        entry := null;
    end if;
    if entry.id is not null then
        update notifiws.watch_entry w set columns = columns, snapshot = coalesce(snapshot, true) where w.id = entry.id;
        perform notifiws.generate(entry.id, target);
    else
        insert into notifiws.watch_entry (target, source, channel, events, columns, condition, snapshot, always, shape)
        values (target, target::text, channel, wanted, columns, condition, coalesce(snapshot, true), always, '')
        returning * into entry;
        perform notifiws.generate(entry.id, target);
        select array_agg(format('create trigger %I after %s on %s %s for each statement execute function notifiws.%I()',
                                'notifiws_' || entry.id || '_' || e, e, target,
                                case e when 'insert' then 'referencing new table as notifiws_new'
                                       when 'update' then 'referencing old table as notifiws_old new table as notifiws_new'
                                       when 'delete' then 'referencing old table as notifiws_old'
                                       else '' end,
                                'capture_' || entry.id || '_' || e))
        into triggers from unnest(wanted) e;
        perform notifiws.with_short_lock(triggers);
    end if;
    perform pg_notify('notifiws_config', '');
end
$$;

create or replace function notifiws.unwatch(target regclass, channel text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set client_min_messages = warning
as $$
#variable_conflict use_variable
declare
    entry notifiws.watch_entry;
begin
    perform pg_advisory_xact_lock(1852797033, 5);
    select * into entry from notifiws.watch_entry w where w.target = target and w.channel = channel;
    if not found then
        raise exception 'table % is not watched on channel %', target, coalesce(quote_literal(channel), 'null')
            using errcode = 'undefined_object', hint = 'notifiws.watches lists those that are';
    end if;
    -- cascade takes the triggers along, on a table that somebody else may own
    perform notifiws.with_short_lock(array(select format('drop function %s cascade', f) from notifiws.capture_functions(entry.id) f));
    delete from notifiws.watch_entry w where w.id = entry.id;
    perform pg_notify('notifiws_config', '');
end
$$;

-- Forget the watch of a table that was dropped, by the name it had.
create or replace function notifiws.forget(source text, channel text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    watch_id integer;
begin
    delete from notifiws.watch_entry w
    where w.source in (source, 'public.' || source) and w.channel = channel and not exists (select from pg_class c where c.oid = w.target)
    returning w.id into watch_id;
    if not found then
        raise exception 'no dropped table % is watched on channel %', coalesce(source, 'null'), coalesce(quote_literal(channel), 'null')
            using errcode = 'undefined_object', hint = 'notifiws.watches lists those that are';
    end if;
    perform notifiws.with_short_lock(array(select format('drop function %s cascade', f) from notifiws.capture_functions(watch_id) f));
    perform pg_notify('notifiws_config', '');
end
$$;

-- Generate anew the functions whose table changed its shape (or all, after a migration). Returns how many.
create or replace function notifiws.refresh_watches(everything boolean default false) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    entry record;
    refreshed integer := 0;
begin
    perform pg_advisory_xact_lock(1852797033, 5);
    for entry in
        select w.id, w.target, w.shape, notifiws.shape(w.target) as now from notifiws.watched w where w.target is not null
    loop
        if entry.now is not null and (everything or entry.now <> entry.shape) then
            begin
                perform notifiws.generate(entry.id, entry.target);
                refreshed := refreshed + 1;
            exception when others then  -- one table must not keep the others, or a migration, from going on
                raise warning 'notifiws could not renew the capture of %: %', entry.target, sqlerrm;
            end;
        end if;
    end loop;
    if refreshed > 0 then
        perform pg_notify('notifiws_config', '');
    end if;
    return refreshed;
end
$$;
