-- notifiws.watch and its opposite: what they refuse, and what they leave.

create or replace function notifiws.unsupported(what text, mend text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception 'unsupported: %', what using errcode = 'feature_not_supported', hint = mend;
end
$$;

-- Refuse, by name and with the mend, what no trigger can capture whole, and what the caller may not.
create or replace function notifiws.check_target(target regclass, chosen text[], always boolean) returns void
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
    elsif rel.relkind in ('v', 'm') then
        perform notifiws.unsupported(format('%s is a view: it stores no rows that change', name), 'watch the tables that it reads');
    elsif rel.relkind = 'f' then
        perform notifiws.unsupported(format('%s is a foreign table: what others write to it fires no trigger here', name),
            'watch the table in its own database');
    elsif rel.relkind not in ('r', 'p') then
        perform notifiws.unsupported(format('%s is not a table', name), 'watch a table');
    elsif rel.relpersistence = 't' then
        perform notifiws.unsupported(format('%s is temporary: only its own session ever sees its rows', name), 'watch a permanent table');
    end if;
    select string_agg(c.oid::regclass::text, ', ') into wrong
    from unnest(notifiws.leaves(target)) l join pg_class c on c.oid = l and c.relkind = 'f';
    if wrong is not null then
        perform notifiws.unsupported(format('partitions of %s are foreign tables: what others write to them fires no trigger here: %s', name, wrong),
            'watch the other partitions, each on the same channel');
    end if;
    if not has_table_privilege(target, 'select') or not has_table_privilege(target, 'trigger') then
        raise exception '% may not watch table %', current_user, name
            using errcode = 'insufficient_privilege', hint = format('grant select, trigger on %s to %I', name, current_user);
    end if;
    select string_agg(l::regclass::text, ', ') into wrong from unnest(notifiws.leaves(target)) l where not has_table_privilege(l, 'trigger');
    if wrong is not null then
        raise exception '% may not create triggers on partitions of %: %', current_user, name, wrong
            using errcode = 'insufficient_privilege', hint = format('grant trigger on %s to %I', wrong, current_user);
    end if;
    if always and not pg_has_role(rel.relowner, 'usage') then
        raise exception '% may not have triggers of % fire always: only its owner may', current_user, name
            using errcode = 'insufficient_privilege', hint = format('grant %s to %I, or watch it as that role', rel.relowner::regrole, current_user);
    end if;
    select string_agg(coalesce(quote_ident(c), 'null'), ', ') into wrong
    from unnest(chosen) c
    where c is null or c <> all (notifiws.column_names(target));
    if wrong is not null then
        raise exception 'table % has no column %', name, wrong
            using errcode = 'undefined_column', hint = format('its columns are %s', (
                select string_agg(quote_ident(c), ', ') from unnest(notifiws.column_names(target)) c));
    end if;
end
$$;

-- Everything that watch refuses, without touching the table. Returns the events, each once, in their usual order.
create or replace function notifiws.check_watch(target regclass, channel text, events text[], columns text[],
                                                condition text, always boolean) returns text[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    known text[] := '{insert,update,delete,truncate}';
begin
    perform notifiws.check_channel(channel);
    if target is null then
        raise exception 'watch needs a table' using errcode = 'null_value_not_allowed', hint = 'its name as SQL writes it, with its schema';
    end if;
    if events is null or cardinality(events) = 0 or not events <@ known or array_position(events, null) is not null then
        raise exception 'events % are not a choice of insert, update, delete, truncate', coalesce(events::text, 'null')
            using errcode = 'invalid_parameter_value', hint = 'leave them out for all four';
    end if;
    perform notifiws.check_target(target, columns, coalesce(always, false));
    if condition is not null then
        perform notifiws.check_condition(target, channel, condition);
    end if;
    return array(select e from unnest(known) with ordinality as k (e, place) where e = any (events) order by place);
end
$$;

create or replace function notifiws.watch(
    target regclass, channel text, events text[] default '{insert,update,delete,truncate}', columns text[] default null,
    condition text default null, snapshot boolean default true, always boolean default false) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
#variable_conflict use_variable
declare
    wanted text[] := notifiws.check_watch(target, channel, events, columns, condition, always);
    before notifiws.watch_entry;
    entry notifiws.watch_entry;
begin
    perform pg_advisory_xact_lock(1852797033, 5);
    select w.* into before from notifiws.watch_entry w join notifiws.watched t on t.id = w.id where t.target = target and w.channel = channel;
    if before.id is null then
        -- A table made anew under the name of a dropped one takes that one's place.
        perform notifiws.forget(t.name, channel) from notifiws.watched t
        where t.target is null and t.name = target::text and t.channel = channel limit 1;
        insert into notifiws.watch_entry (target, source, channel, events, columns, condition, snapshot, always, shape)
        values (target, target::text, channel, wanted, columns, condition, true, false, '')
        returning * into entry;
    end if;
    update notifiws.watch_entry w
    set target = target, events = wanted, columns = columns, numbers = notifiws.column_numbers(target, columns),
        condition = condition, reads = null, snapshot = coalesce(snapshot, true), always = coalesce(always, false),
        mode = notifiws.capture_mode(target, coalesce(always, false)), stopped = null
    where w.id = coalesce(before.id, entry.id)
    returning * into entry;
    delete from notifiws.incident i where i.watch = entry.id;
    -- Where the triggers stay the same only their functions are made anew, which takes no lock.
    if before.id is null or (before.target, before.events, before.mode, before.always) is distinct from (target, entry.events, entry.mode, entry.always)
       or exists (select from notifiws.missing_triggers(entry.id, target, entry.events, entry.mode) m where m.relation = target)
       or exists (select from pg_trigger t where t.tgfoid in (select notifiws.capture_functions(entry.id))
                     and t.tgenabled <> case when entry.always then 'A' else 'O' end) then
        perform notifiws.retrigger(entry.id, 60);
    else
        perform notifiws.generate(entry.id, target);
        perform notifiws.with_short_lock(notifiws.trigger_statements(entry, false));
    end if;
    perform pg_notify('notifiws_config', '');
end
$$;

create or replace function notifiws.unwatch(target regclass, channel text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set client_min_messages = warning
as $$
#variable_conflict use_variable
declare
    watch_id integer;
begin
    perform pg_advisory_xact_lock(1852797033, 5);
    select w.id into watch_id from notifiws.watched w where w.target = target and w.channel = channel;
    if not found then
        if exists (select from notifiws.watched t where t.target is null and t.name = target::text and t.channel = channel) then
            perform notifiws.forget(target::text, channel);  -- the table was dropped and made anew
            return;
        end if;
        raise exception 'table % is not watched on channel %', target, coalesce(quote_literal(channel), 'null')
            using errcode = 'undefined_object', hint = 'notifiws.watches lists those that are';
    end if;
    -- cascade takes the triggers along, on a table that somebody else may own
    perform notifiws.with_short_lock(array(select format('drop function %s cascade', f) from notifiws.capture_functions(watch_id) f));
    delete from notifiws.watch_entry w where w.id = watch_id;
    perform pg_notify('notifiws_config', '');
end
$$;

-- Forget the watch of a table that was dropped, by the name it had.
create or replace function notifiws.forget(source text, channel text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set client_min_messages = warning
as $$
#variable_conflict use_variable
declare
    ids integer[];
begin
    perform pg_advisory_xact_lock(1852797033, 5);
    ids := array(select t.id from notifiws.watched t
                 where t.target is null and t.name in (source, 'public.' || source) and t.channel = channel);
    if cardinality(ids) = 0 then
        raise exception 'no dropped table % is watched on channel %', coalesce(source, 'null'), coalesce(quote_literal(channel), 'null')
            using errcode = 'undefined_object', hint = 'notifiws.watches lists those that are';
    end if;
    perform notifiws.with_short_lock(array(
        select format('drop function %s cascade', f) from unnest(ids) i, notifiws.capture_functions(i) f));
    delete from notifiws.watch_entry w where w.id = any (ids);
    perform pg_notify('notifiws_config', '');
end
$$;
