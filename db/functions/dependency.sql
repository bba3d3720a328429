-- How live queries hear of changes: a table that one depends on has a statement trigger, whose row in the log says no
-- more than that the table was written to. It commits with the writer, so a run that the relay starts for it sees the
-- change. The relay takes such rows out of the log; they are no events and have no channel.

-- A table and what belongs to it: a statement fires the triggers of the table that it names, be it parent or partition.
create or replace function notifiws.family(target oid) returns oid[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    with recursive tree (id) as (
        select c.oid from pg_class c where c.oid = target
        union
        select i.inhrelid from pg_inherits i join tree on i.inhparent = tree.id
    )
    select coalesce(array_agg(tree.id order by tree.id), '{}') from tree join pg_class c on c.oid = tree.id
    where c.relkind in ('r', 'p', 'f')
$$;

-- The table that an entry means. In a restored dump tables have other oids, and the entry's may be anybody's: then the
-- name counts.
create or replace function notifiws.touched_table(entry notifiws.live_query_table) returns oid
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(
        (select t.tgrelid from pg_trigger t
         where t.tgrelid = entry.target and t.tgfoid = to_regprocedure('notifiws.touch_' || entry.id || '()') limit 1),
        to_regclass(entry.source),
        (select c.oid from pg_class c where c.oid = entry.target and cardinality(entry.members) = 0))
$$;

-- The text of a table's touch function. At most one row a transaction: the note of those that it has touched ends with
-- the transaction, and goes with a savepoint as the row does. A statement that changed nothing has no transaction id.
create or replace function notifiws.touch_body(table_id integer) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select replace($body$
declare
    tx text := pg_current_xact_id_if_assigned()::text || ' ';
    note text := current_setting('notifiws.touched', true);
begin
    if tx is null then
        return null;
    end if;
    if not starts_with(coalesce(note, ''), tx) then
        note := tx;
    elsif strpos(note, ' <id> ') > 0 then
        return null;
    end if;
    perform set_config('notifiws.touched', note || ' <id> ', true);
    insert into notifiws.outbox (slot, channel, op, key, bytes, at)
    values (notifiws.slot(), '', 'touch', '<id>', 0, clock_timestamp());
    if coalesce(current_setting('notifiws.doorbell', true), '') <> ''
       or not pg_try_advisory_xact_lock_shared(1852797033, 2) then
        perform notifiws.ring();
    end if;
    return null;
end
$body$, '<id>', table_id::text)
$$;

-- Make the functions of one table, or of all after a migration, anew. Touches no lock of the table.
create or replace function notifiws.generate_touch(table_id integer default null) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    entry record;
    made integer := 0;
begin
    for entry in select t.id from notifiws.live_query_table t where table_id is null or t.id = table_id loop
        execute format('create or replace function notifiws.%I() returns trigger language plpgsql security definer '
                       'set search_path = pg_catalog, pg_temp as %L', 'touch_' || entry.id, notifiws.touch_body(entry.id));
        execute format('revoke all on function notifiws.%I() from public', 'touch_' || entry.id);
        made := made + 1;
    end loop;
    return made;
end
$$;

-- The triggers that are missing in a table's family, as statements.
create or replace function notifiws.touch_triggers(table_id integer, members oid[]) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(array_agg(format(
        'create trigger %I after insert or update or delete%s on %s for each statement execute function notifiws.%I()',
        'notifiws_touch_' || table_id, case when c.relkind = 'f' then '' else ' or truncate' end, c.oid::regclass,
        'touch_' || table_id)), '{}')
    from pg_class c
    where c.oid = any (members) and not exists (
        select from pg_trigger t
        where t.tgrelid = c.oid and t.tgfoid = to_regprocedure('notifiws.touch_' || table_id || '()'))
$$;

-- Refuse, by name and with the mend, a table whose changes no trigger tells of.
create or replace function notifiws.check_dependency(target regclass) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    rel pg_class;
    name text := target::text;
    barred text;
begin
    if target is null then
        raise exception 'a table in depends_on is null'
            using errcode = 'null_value_not_allowed', hint = 'name each table once, as in ''{ventas,stock}''';
    end if;
    select * into rel from pg_class where oid = target;
    if not found then
        raise exception 'table % does not exist', name using errcode = 'undefined_table';
    end if;
    if rel.relnamespace in ('pg_catalog'::regnamespace, 'notifiws'::regnamespace, 'information_schema'::regnamespace)
       or rel.relnamespace::regnamespace::text like 'pg_toast%' then
        perform notifiws.unsupported(format('%s is a system table', name), 'leave it out, and run the query "every" so often');
    elsif rel.relkind = 'v' then
        perform notifiws.unsupported(format('%s is a view: it stores no rows that change', name), 'depend on the tables that it reads');
    elsif rel.relkind = 'm' then
        perform notifiws.unsupported(format('%s is a materialized view: no trigger tells of its refresh', name),
            'depend on the tables that it reads, or run the query "every" so often');
    elsif rel.relkind = 'f' then
        perform notifiws.unsupported(format('%s is a foreign table: what others write to it fires no trigger here', name),
            'leave it out, and run the query "every" so often');
    elsif rel.relkind not in ('r', 'p') then
        perform notifiws.unsupported(format('%s is not a table', name), 'depend on tables');
    elsif rel.relpersistence = 't' then
        perform notifiws.unsupported(format('%s is temporary: only its own session ever sees its rows', name), 'depend on permanent tables');
    end if;
    select string_agg(m::regclass::text, ', ') into barred
    from unnest(notifiws.family(target)) m where not has_table_privilege(m, 'trigger');
    if barred is not null then
        raise exception '% may not create the trigger that tells of changes on %', current_user, barred
            using errcode = 'insufficient_privilege', hint = format('grant trigger on %s to %I', barred, current_user);
    end if;
end
$$;

-- The entry of live_query_table for a table, made with its function when it is the first query's that depends on it. Its
-- triggers are the caller's to make.
create or replace function notifiws.touched(target regclass) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    table_id integer;
    members oid[] := notifiws.family(target);
begin
    select t.id into table_id from notifiws.live_query_table t where notifiws.touched_table(t) = target;
    if not found then
        insert into notifiws.live_query_table (target, source) values (target, target::text) returning id into table_id;
        perform notifiws.generate_touch(table_id);
    end if;
    update notifiws.live_query_table t set target = target, source = target::text, members = members where t.id = table_id;
    return table_id;
end
$$;

-- Put triggers on these tables, and take them off those that no query depends on any more: all in one go, or a table that
-- is locked would have the writers of the others wait.
create or replace function notifiws.settle_touches(wanted integer[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set client_min_messages = warning
as $$
declare
    statements text[];
begin
    with unused as (
        delete from notifiws.live_query_table t
        where not exists (select from notifiws.live_query_entry e where t.id = any (e.tables)) returning t.id
    )
    -- cascade takes the triggers along, on tables that somebody else may own
    select coalesce(array_agg(format('drop function if exists notifiws.%I() cascade', 'touch_' || id)), '{}')
    into statements from unused;
    select statements || coalesce(array_agg(s.statement), '{}') into statements
    from notifiws.live_query_table t
    cross join unnest(notifiws.touch_triggers(t.id, t.members)) s (statement)
    where t.id = any (wanted);
    perform notifiws.with_short_lock(statements);
end
$$;

-- Follow partitions that came or went, and tables of a restored dump. What was written to a new one before its trigger
-- stood is told by a touch for the whole. Waits for no table: what is locked is tried again by the next call.
create or replace function notifiws.refresh_touches() returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    entry record;
    statement text;
    refreshed integer := 0;
begin
    for entry in
        select t.id, f.root, f.members
        from notifiws.live_query_table t
        cross join lateral (
            select r.root, notifiws.family(r.root) as members from (select notifiws.touched_table(t)) r (root)
        ) f
        where f.root is not null
          and (f.root <> t.target or f.members <> t.members or notifiws.touch_triggers(t.id, f.members) <> '{}')
    loop
        perform pg_advisory_xact_lock(1852797033, 5);
        begin
            perform set_config('lock_timeout', '100ms', true);
            foreach statement in array notifiws.touch_triggers(entry.id, entry.members) loop
                execute statement;
            end loop;
            update notifiws.live_query_table t
            set target = entry.root, source = entry.root::regclass::text, members = entry.members where t.id = entry.id;
            insert into notifiws.outbox (slot, channel, op, key, bytes, at)
            values (notifiws.slot(), '', 'touch', entry.id::text, 0, clock_timestamp());
            refreshed := refreshed + 1;
        exception when others then
            null;  -- locked, or not allowed: one table must not keep the others from going on, and the view says so
        end;
    end loop;
    if refreshed > 0 then
        perform notifiws.ring();
    end if;
    return refreshed;
end
$$;

-- This release's text for those that are there.
do $$ begin perform notifiws.generate_touch(); end $$;
