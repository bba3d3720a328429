-- The triggers of a watch and their functions, notifiws.capture_<id>_<what>(). Dropping the functions drops the triggers,
-- on tables that somebody else may own, too.

-- How a watch's triggers fire: a statement's with transition tables where they see every change, else a row's. Partitions
-- and tables in an inheritance are also written by statements that name their parent, which fire only the parent's
-- statement triggers; a parent's are not fired by statements that name a partition; logical apply fires rows' only.
create or replace function notifiws.capture_mode(target regclass, always boolean) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case when always or c.relkind = 'p' or c.relispartition
                  or exists (select from pg_inherits i where i.inhrelid = c.oid or i.inhparent = c.oid) then 'row' else 'statement' end
    from pg_class c where c.oid = target
$$;

-- The functions of a watch. Their triggers are found through them.
create or replace function notifiws.capture_functions(watch_id integer) returns setof regprocedure
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select p.oid
    from pg_proc p
    where p.pronamespace = 'notifiws'::regnamespace
      and p.proname = any (array(select 'capture_' || watch_id || '_' || e from unnest('{insert,update,delete,truncate,part}'::text[]) e))
$$;

-- The triggers that a watch needs: on its table one for each event; when it is partitioned and deletes are watched, also
-- what tells the truncation of a partition from that of the whole (parts.sql). type is pg_trigger.tgtype.
create or replace function notifiws.wanted_triggers(watch_id integer, target regclass, events text[], mode text)
returns table (relation regclass, name text, function text, type smallint, definition text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select w.relation, format('notifiws_%s_%s', watch_id, w.what), format('capture_%s_%s', watch_id, w.function), w.type::smallint,
           format('create trigger %I %s on %s%s execute function notifiws.%I()', format('notifiws_%s_%s', watch_id, w.what),
                  w.moment, w.relation, w.rest, format('capture_%s_%s', watch_id, w.function))
    from (
        select target as relation, e as what, e as function, 'after ' || e as moment,
               case e when 'insert' then 4 when 'delete' then 8 when 'update' then 16 else 32 end
                   + case when mode = 'row' and e <> 'truncate' then 1 else 0 end as type,
               case when e = 'truncate' then ' for each statement' when mode = 'row' then ' for each row'
                    when e = 'insert' then ' referencing new table as notifiws_new for each statement'
                    when e = 'update' then ' referencing old table as notifiws_old new table as notifiws_new for each statement'
                    else ' referencing old table as notifiws_old for each statement' end as rest
        from unnest(events) e
        union all
        select target, what, 'part', moment, type, ' for each statement'
        from (values ('before_part', 'before truncate', 34), ('after_part', 'after truncate', 32)) v (what, moment, type)
        where notifiws.is_partitioned(target) and 'delete' = any (events)
        union all
        select l, 'part', 'part', 'before truncate', 34, ' for each statement'
        from unnest(notifiws.leaves(target)) l
        where 'delete' = any (events)
    ) w
$$;

-- Those of them that are not there.
create or replace function notifiws.missing_triggers(watch_id integer, target regclass, events text[], mode text)
returns table (relation regclass, name text, definition text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select w.relation, w.name, w.definition
    from notifiws.wanted_triggers(watch_id, target, events, mode) w
    where not exists (
        select from pg_trigger t join pg_proc p on p.oid = t.tgfoid
        where t.tgrelid = w.relation and t.tgname = w.name and t.tgtype = w.type
          and p.pronamespace = 'notifiws'::regnamespace and p.proname = w.function)
$$;

-- The statements that put on a watch's missing triggers: all, or those of partitions.
create or replace function notifiws.trigger_statements(entry notifiws.watch_entry, parts_only boolean) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(array_agg(s order by m.name, m.relation, place), '{}')
    from notifiws.missing_triggers(entry.id, entry.target, entry.events, entry.mode) m
    cross join lateral unnest(array[m.definition, case when entry.always then
                              format('alter table %s enable always trigger %I', m.relation, m.name) end]) with ordinality as u (s, place)
    where s is not null and (m.relation <> entry.target or not parts_only)
$$;

-- Generate the functions of a watch for the table's present shape. Touches no lock of the table. A condition that no longer
-- compiles stops the watch: without it rows would get out that were not meant to.
create or replace function notifiws.generate(watch_id integer, target regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
#variable_conflict use_variable
declare
    entry notifiws.watch_entry;
    shape text;
    stopped text;
    event text;
    body text;
begin
    select * into strict entry from notifiws.watch_entry w where w.id = watch_id;
    shape := case entry.mode when 'row' then notifiws.row_shape(target) else notifiws.shape(target) end;
    if shape is null then
        raise exception 'the shape of table % cannot be read', target;
    end if;
    begin
        entry := notifiws.entry_now(watch_id, target);
        if entry.condition is not null then
            entry.reads := notifiws.check_condition(target, entry.channel, entry.condition);
        end if;
    exception
        when lock_not_available or deadlock_detected then
            raise;
        when others then
            stopped := notifiws.failure(sqlstate, sqlerrm);
    end;
    if stopped is not null and entry.stopped is distinct from stopped then
        perform notifiws.capture_failed(watch_id, target, 'stopped: ' || stopped);
    end if;
    update notifiws.watch_entry w
    set target = target, source = target::text, shape = shape, stopped = stopped, reads = entry.reads,
        -- No choice is all columns, an empty one the key alone: never the one for the other.
        columns = case when w.columns is not null then array(
                      select case when notifiws.column_name(target, n) = any (notifiws.column_names(target))
                                  then notifiws.column_name(target, n) else c end
                      from unnest(w.columns, w.numbers) with ordinality as u (c, n, place) order by place) end,
        numbers = case when w.target = target then w.numbers else entry.numbers end
    where w.id = watch_id;
    entry.stopped := stopped;
    if entry.target <> target or not exists (select from notifiws.watch_part p where p.watch = watch_id) then
        delete from notifiws.watch_part p where p.watch = watch_id;
        insert into notifiws.watch_part (watch, part) select watch_id, l from unnest(notifiws.leaves(target)) l;
    end if;
    entry.target := target;
    foreach event in array entry.events || case when 'delete' = any (entry.events) and notifiws.is_partitioned(target) then '{part}'::text[]
                                                else '{}' end loop
        body := case when event = 'part' then notifiws.part_body(entry) else notifiws.capture_body(entry, event, shape) end;
        -- Whatever the writer's session has set, values read the same, and so does a backslash in a condition.
        execute format(
            'create or replace function notifiws.%I() returns trigger language plpgsql security definer '
            'set search_path = pg_catalog, pg_temp set timezone = ''UTC'' set intervalstyle = postgres '
            'set bytea_output = hex set extra_float_digits = 1 set datestyle = ''ISO, MDY''%s%s%s as %L',
            'capture_' || watch_id || '_' || event, case when event = 'part' then ' set row_security = off' else '' end,
            case when strpos(body, E'\\') > 0 then ' set standard_conforming_strings = on' else '' end,
            -- A plan made for a statement of two rows would compare each row of a later, large one with each other.
            case when event = 'update' and entry.mode = 'statement' and entry.condition is not null then ' set enable_nestloop = off'
                 else '' end, body);
        execute format('revoke all on function notifiws.%I() from public', 'capture_' || watch_id || '_' || event);
    end loop;
end
$$;

-- Take a watch's functions and triggers off and put on those that its entry now asks for. In one transaction and under the
-- table's lock, so that no writer meets the time between.
create or replace function notifiws.retrigger(watch_id integer, attempts integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set client_min_messages = warning
as $$
declare
    entry notifiws.watch_entry;
begin
    perform notifiws.with_short_lock(array(select format('drop function %s cascade', f) from notifiws.capture_functions(watch_id) f), attempts);
    select * into strict entry from notifiws.watch_entry w where w.id = watch_id;
    perform notifiws.generate(watch_id, entry.target);
    perform notifiws.with_short_lock(notifiws.trigger_statements(entry, false), attempts);
end
$$;

-- Run statements that need a table's lock so that writers never queue behind it: short waits, and a pause between.
create or replace function notifiws.with_short_lock(statements text[], attempts integer default 60) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    before text := current_setting('lock_timeout');
    statement text;
begin
    for attempt in 1 .. attempts loop
        begin
            perform set_config('lock_timeout', '100ms', true);
            foreach statement in array statements loop
                execute statement;
            end loop;
            perform set_config('lock_timeout', before, true);
            return;
        exception when lock_not_available then
            if attempt = attempts then
                raise exception 'the table is locked by another transaction that does not end'
                    using errcode = 'lock_not_available', hint = 'pg_stat_activity and pg_locks show it; then try again';
            end if;
        end;
        perform pg_sleep(0.05 + random() * 0.2);
    end loop;
end
$$;
