-- Partitions of a watched table: those that are truncated alone, and those that come and go. Rows that appear or vanish in
-- the table without a row's trigger are logged one by one where that can be done exactly, else the loss is said.

-- The partitions that hold rows, in order. Empty when the table is not partitioned. (pg_partition_tree would wait for their
-- locks.)
create or replace function notifiws.leaves(target regclass) returns oid[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    with recursive tree (id) as (
        select c.oid from pg_class c where c.oid = target and c.relkind = 'p'
        union
        select i.inhrelid from pg_inherits i join tree on i.inhparent = tree.id where not i.inhdetachpending
    )
    select coalesce(array_agg(c.oid order by c.oid), '{}') from tree join pg_class c on c.oid = tree.id where c.relkind <> 'p'
$$;

-- The INSERT that logs all rows of one partition as inserted or deleted, as the watched table shows them.
create or replace function notifiws.part_rows_sql(entry notifiws.watch_entry, part regclass, op text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    target regclass := entry.target;
    rows text := notifiws.rows_of(target, 'only ' || part, true);
begin
    -- Who may read the table may read its partition through it.
    if not has_table_privilege(part, 'select') and part = any (notifiws.leaves(target)) then
        rows := format('(select * from %s where tableoid = %s)', target, part::oid);
    end if;
    if entry.condition is not null then
        rows := notifiws.passing_sql(entry, op, case op when 'INSERT' then 'new' else 'old' end, rows, rows);
    end if;
    return notifiws.capture_sql(target, entry.channel, entry.columns, op, rows, rows, true);
end
$$;

-- The text of the function behind three triggers. Before and after the whole table is truncated a note is left and taken
-- away; between, its partitions' rows go with it. A partition that is truncated alone logs its rows as deleted;
-- where its transaction sees by an older snapshot, some may be missing, and it is said.
create or replace function notifiws.part_body(entry notifiws.watch_entry) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select format($body$
declare
    note text := coalesce(current_setting('notifiws.truncating', true), '');
    mark text := ' %1$s ';
begin
    if tg_relid = %2$L::oid then
        perform set_config('notifiws.truncating', case when tg_when = 'BEFORE' then note || mark else replace(note, mark, '') end, true);
        update notifiws.watch_part set emptied = true where watch = %1$s and not emptied;
    elsif position(mark in note) = 0 and tg_relid = any (notifiws.leaves(%2$L::oid::regclass)) then
        perform notifiws.log_part(%1$s, tg_relid, 'DELETE');
        if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
            perform notifiws.capture_failed(%1$s, tg_relid, format(
                'partition %%s was truncated by a %%s transaction, which may not have seen all of its rows', tg_relid::regclass,
                current_setting('transaction_isolation')));
        end if;
        update notifiws.watch_part set emptied = true where watch = %1$s and part = tg_relid;
        perform notifiws.ring();
    end if;
    return null;
exception when others then
    perform notifiws.capture_failed(%1$s, tg_relid, notifiws.failure(sqlstate, sqlerrm));
    return null;
end
$body$, entry.id, entry.target::oid::text)
$$;

-- Log all rows of a partition as inserted or deleted.
create or replace function notifiws.log_part(watch_id integer, part regclass, op text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set row_security = off
set standard_conforming_strings = on
set timezone = 'UTC' set intervalstyle = postgres set bytea_output = hex set extra_float_digits = 1 set datestyle = 'ISO, MDY'
as $$
declare
    entry notifiws.watch_entry;
begin
    select * into strict entry from notifiws.watch_entry w where w.id = watch_id;
    if entry.stopped is null and lower(op) = any (entry.events) then
        execute notifiws.part_rows_sql(notifiws.entry_now(watch_id, entry.target), part, op);
    end if;
end
$$;

-- Whether a partition holds rows; whether it may hold some from before it became one: older than, or of the same
-- transaction as, its place in the table. Waits for no lock.
create or replace function notifiws.has_rows(part regclass, from_before boolean) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
set lock_timeout = '100ms'
as $$
declare
    joined xid := (select i.xmin from pg_inherits i where i.inhrelid = part);
    some_row boolean;
begin
    if exists (select from pg_class c where c.oid = part and c.relkind = 'f') then
        return true;
    end if;
    execute format('select exists (select from only %s r%s)', part, case when from_before then ' where age(r.xmin) >= age($1)' else '' end)
    into some_row using joined;
    return some_row;
exception when insufficient_privilege then
    return true;  -- better said without need than not said
end
$$;

-- Have a watch follow the partitions that its table has now. exact: we are inside the transaction that attached or
-- detached them, so that their rows are those that came and went. Returns whether anything had changed.
create or replace function notifiws.follow_parts(watch_id integer, exact boolean) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    entry notifiws.watch_entry;
    leaves oid[];
    known record;
    part regclass;
    statements text[];
    changed boolean := false;
begin
    select * into strict entry from notifiws.watch_entry w where w.id = watch_id;
    leaves := notifiws.leaves(entry.target);
    exact := exact and current_setting('transaction_isolation') = 'read committed';
    for known in select p.part, p.emptied from notifiws.watch_part p where p.watch = watch_id and p.part <> all (leaves) loop
        perform notifiws.part_is_gone(entry, known.part::regclass, known.emptied, exact);
        delete from notifiws.watch_part p where p.watch = watch_id and p.part = known.part;
        changed := true;
    end loop;
    for part in select l from unnest(leaves) l
                where not exists (select from notifiws.watch_part p where p.watch = watch_id and p.part = l) loop
        if not 'insert' = any (entry.events) then
            null;
        elsif exact then
            perform notifiws.log_part(watch_id, part, 'INSERT');
        elsif notifiws.has_rows(part, true) then
            perform notifiws.capture_failed(watch_id, entry.target, format('partition %s was attached with rows in it', part));
        end if;
        insert into notifiws.watch_part (watch, part) values (watch_id, part);
        changed := true;
    end loop;
    for part in select p.part from notifiws.watch_part p where p.watch = watch_id and p.emptied loop
        if notifiws.has_rows(part, false) then
            update notifiws.watch_part p set emptied = false where p.watch = watch_id and p.part = part;
        end if;
    end loop;
    statements := notifiws.trigger_statements(entry, true);
    if statements <> '{}' then
        perform notifiws.with_short_lock(statements, 2);
        changed := true;
    end if;
    return changed;
end
$$;

-- A partition was detached or dropped, and its rows with it.
create or replace function notifiws.part_is_gone(entry notifiws.watch_entry, part regclass, emptied boolean, exact boolean) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from pg_class c where c.oid = part) then
        if 'delete' = any (entry.events) and not emptied then
            perform notifiws.capture_failed(entry.id, entry.target,
                'a partition was dropped, and its rows with it; truncate one before you drop it');
        end if;
        return;
    end if;
    if 'delete' = any (entry.events) then
        if exact then
            perform notifiws.log_part(entry.id, part, 'DELETE');
        elsif notifiws.has_rows(part, false) then
            perform notifiws.capture_failed(entry.id, entry.target, format('partition %s was detached, and its rows with it', part));
        end if;
    end if;
    perform notifiws.with_short_lock(array(
        select format('drop trigger %I on %s', t.tgname, part) from pg_trigger t
        where t.tgrelid = part and t.tgfoid in (select notifiws.capture_functions(entry.id))), 1);
exception when insufficient_privilege then
    null;  -- somebody else's table: the trigger logs nothing there, and goes with the watch
end
$$;
