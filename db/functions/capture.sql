-- What a watch writes into the log. notifiws.capture_body generates one trigger function a watch, static SQL that is
-- planned once a session; notifiws.capture_sql is the same statement for whatever shape the table has right now.

-- A table's shape as capture depends on it: its name, its columns' names, its primary key, whether its foreign keys both
-- delete and set null. Null when it is gone.
-- Declared immutable, although it reads the catalogs, for a purpose: a generated function compares it with a constant,
-- the planner folds that into the cached plan, and the plan depends on the regclass constant, so Postgres itself throws
-- it away on any DDL on the table. The check costs a writer nothing. Names come from the parser and from syscache
-- functions, not from pg_attribute, since a REPEATABLE READ snapshot may be older than the DDL.
create or replace function notifiws.shape(target regclass) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return concat_ws(' ', target::text, notifiws.column_names(target)::text, notifiws.key_columns(target)::text,
                     case when notifiws.cascades_mix(target) then 'cascades mix' end);
exception when others then  -- the table is gone
    return null;
end
$$;

-- The names of a table's columns in order, as the parser sees them.
create or replace function notifiws.column_names(target regclass) returns text[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    nulls json;
begin
    execute format('select row_to_json(x.*) from (select (null::%s).*) as x', target) into nulls;
    return array(select json_object_keys(nulls));
end
$$;

-- What the generated SQL's own names begin with where they stand beside the table's columns: none of those begins so. A
-- table has at most 1600 columns, so one of these is free.
create or replace function notifiws.free_prefix(target regclass) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select prefix
    from (select k, 'notifiws#' || case when k > 0 then k || '#' else '' end as prefix from generate_series(0, 1601) k) p
    where not exists (select from unnest(notifiws.column_names(target)) c where starts_with(c, prefix))
    order by k
    limit 1
$$;

-- The primary key's columns in key order, null without an immediate one. Their names are not read by snapshot either.
create or replace function notifiws.key_columns(target regclass) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select array_agg((parse_ident(pg_get_indexdef(i.indexrelid, k.place, false)))[1] order by k.place)
    from pg_index i
    cross join lateral generate_series(1, i.indnkeyatts) as k (place)
    where i.indrelid = target and i.indisprimary and i.indimmediate and pg_get_indexdef(i.indexrelid) is not null
$$;

-- The columns that a watch captures, in table order: all, or the key and the chosen ones that (still) exist. Virtual
-- generated columns are null in triggers: watch refuses them, and one added later is left out and reported.
create or replace function notifiws.captured_columns(target regclass, chosen text[]) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(array_agg(c.name order by c.place), '{}')
    from unnest(notifiws.column_names(target)) with ordinality as c (name, place)
    where (chosen is null or c.name = any (chosen) or c.name = any (notifiws.key_columns(target)))
      and not exists (select from pg_attribute a where a.attrelid = target and a.attname = c.name and a.attgenerated = 'v')
$$;

-- `"name":value` as row_to_json writes it, as an expression over the row called alias.
create or replace function notifiws.member_sql(alias text, name text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select format('%L || coalesce(to_json(%s.%I)::text, ''null'')', to_json(name)::text || ':', alias, name) $$;

-- A function takes at most 100 arguments: join members with commas, fifty at a time. Null members are left out.
create or replace function notifiws.members_sql(members text[]) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select case when count(*) = 0 then '''''' when count(*) = 1 then min(part)
                else format('concat_ws('','', %s)', string_agg(format('nullif(%s, '''')', part), ', ' order by chunk)) end
    from (
        select (m.place - 1) / 50 as chunk, format('concat_ws('','', %s)', string_agg(m.member, ', ' order by m.place)) as part
        from unnest(members) with ordinality as m (member, place)
        group by 1
    ) parts
$$;

-- The whole captured row as JSON text, as an expression over the row called alias. Without a choice of columns it is
-- the whole row, free of names.
create or replace function notifiws.row_sql(alias text, target regclass, chosen text[]) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when chosen is null and not exists (
            select from pg_attribute a where a.attrelid = target and a.attnum > 0 and a.attgenerated = 'v' and not a.attisdropped)
        then format('row_to_json(%s.*)::text', alias)
        else format('''{'' || %s || ''}''', (
            select notifiws.members_sql(array_agg(notifiws.member_sql(alias, c) order by place))
            from unnest(notifiws.captured_columns(target, chosen)) with ordinality as u (c, place)))
    end
$$;

-- The INSERT into the log around a query for op, key, new, old. offset 0: each text is made once, and measured.
create or replace function notifiws.log_sql(target regclass, channel text, events text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select format($sql$
        insert into notifiws.outbox (slot, channel, op, source, key, new, old, bytes, at)
        select notifiws.slot(), %L, e.op, %L, e.key, e.new, e.old,
               coalesce(octet_length(e.key), 0) + coalesce(octet_length(e.new), 0) + coalesce(octet_length(e.old), 0),
               clock_timestamp()
        from (%s offset 0) e$sql$, channel, target::text, events)
$$;

-- The INSERT that logs one statement's rows. Transition tables are named notifiws_new and notifiws_old.
--
-- An UPDATE's rows are paired by their place: Postgres adds the old and the new row to the two transition tables in one
-- step. By key it would go wrong where one statement moves a row twice, as two cascading foreign keys of one table do.
-- A changed key becomes a delete and an insert, in the order in which the rows were changed.
create or replace function notifiws.capture_sql(target regclass, channel text, chosen text[], op text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    key_names text[] := notifiws.key_columns(target);
    names text[] := notifiws.captured_columns(target, chosen);
    key_new text;
    key_old text;
    row_new text := notifiws.row_sql('n', target, chosen);
    row_old text;
    key_changed text := 'false';
    diff text;
    events text;
begin
    if key_names is null then
        key_new := 'null::text';
        key_old := 'null::text';
    else
        select format('''{'' || %s || ''}''', notifiws.members_sql(array_agg(notifiws.member_sql('n', c) order by place))),
               format('''{'' || %s || ''}''', notifiws.members_sql(array_agg(notifiws.member_sql('o', c) order by place))),
               format('record_image_ne(row(%s), row(%s))', string_agg(format('n.%I', c), ', ' order by place),
                                             string_agg(format('o.%I', c), ', ' order by place))
        into key_new, key_old, key_changed
        from unnest(key_names) with ordinality as u (c, place);
    end if;
    case op
    when 'INSERT' then
        events := format('select ''insert'' as op, %s as key, %s as new, null::text as old from notifiws_new n', key_new, row_new);
    when 'DELETE' then
        events := format('select ''delete'' as op, %s as key, null::text as new, %s as old from notifiws_old o', key_old,
                         notifiws.row_sql('o', target, chosen));
    when 'TRUNCATE' then
        events := 'select ''truncate'' as op, null::text as key, null::text as new, null::text as old';
    when 'UPDATE' then
        select notifiws.members_sql(array_agg(
                   case when c = any (key_names) then notifiws.member_sql('o', c)
                        else format('case when record_image_ne(row(n.%I), row(o.%I)) then %s end', c, c, notifiws.member_sql('o', c)) end
                   order by place)),
               notifiws.members_sql(array_agg(notifiws.member_sql('o', c) order by place))
        into diff, row_old
        from unnest(names) with ordinality as u (c, place);
        -- part 1 is the delete of a changed key, part 2 the update or insert
        events := format(replace($sql$
            select case when part = 1 then 'delete' when key_changed then 'insert' else 'update' end as op,
                   case when part = 1 then key_old else key_new end as key,
                   case when part = 2 then new end as new,
                   case when part = 1 then old_row when not key_changed then old_diff end as old
            from (
                select *, generate_series(case when key_changed then 1 else 2 end, 2) as part
                from (
                    select n."notifiws#" as place, n."notifiws#new" as new, %s as key_new, %s as key_old,
                           %s as key_changed,
                           case when %s then '{' || %s || '}' end as old_row,
                           case when not %s then '{' || %s || '}' end as old_diff
                    from (select row_number() over () as "notifiws#", %s as "notifiws#new", n.* from notifiws_new n) n
                    join (select row_number() over () as "notifiws#", o.* from notifiws_old o) o
                      on o."notifiws#" = n."notifiws#"
                    offset 0
                ) pairs
            ) parts
            order by place, part$sql$, 'notifiws#', notifiws.free_prefix(target)),
            key_new, key_old, key_changed, key_changed, coalesce(row_old, ''''''), key_changed, coalesce(diff, ''''''), row_new);
    end case;
    return notifiws.log_sql(target, channel, events);
end
$$;

-- The way for a table whose shape is no longer the one its function was generated for: slower, never wrong. Last, if
-- even that fails, the writer still goes on, and the loss is said: in the server's log and by notifiws.watches.
create or replace function notifiws.capture_fallback_sql(watch_id integer, target regclass, op text) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    entry notifiws.watch_entry;
begin
    select * into strict entry from notifiws.watch_entry w where w.id = watch_id;
    return notifiws.capture_sql(target, entry.channel, entry.columns, op);
end
$$;

-- See settle.sql. Null when there is nothing to settle, or by nothing to look rows up.
create or replace function notifiws.capture_settle_sql(watch_id integer, target regclass, op text) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    entry notifiws.watch_entry;
begin
    if not notifiws.nested(target) and not (op = 'UPDATE' and notifiws.cascades_mix(target)) then
        return null;
    end if;
    select * into strict entry from notifiws.watch_entry w where w.id = watch_id;
    return notifiws.settle_sql(target, entry.channel, entry.columns, op);
end
$$;

create or replace function notifiws.capture_failed(watch_id integer, target regclass, message text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    raise warning 'notifiws could not capture changes of %: %', target, message
        using hint = 'run notifiws.watch on the table again; clients of its channel have to fetch afresh';
    insert into notifiws.incident (watch, message)
    select watch_id, message
    where not exists (select from notifiws.incident i where i.watch = watch_id and i.at > clock_timestamp() - interval '1 minute');
end
$$;

-- Whether no row of a transition table could be more than a JSON text, or a row of the log, can hold (1 GB each): by what
-- its values take now, compressed perhaps. Compression makes them at most 255 times smaller, JSON's escapes at most 6
-- times longer, so that all columns together stay below. An expression without a column of the query around it: it is
-- asked once a statement, before any text is made, and costs some tens of nanoseconds a value.
create or replace function notifiws.small_sql(transition text, target regclass, chosen text[]) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select format('not exists (select from %s t where greatest(%s) > %s)', transition,
                  coalesce(string_agg(format('pg_column_size(t.%I)', c), ', '), '0'), least(32768, 600000 / greatest(count(*), 1)))
    from unnest(notifiws.captured_columns(target, chosen)) c
$$;

-- The text of a watch's trigger function for one op. Every expression here is paid by every writer's statement, so there
-- are few: the bell's usual case, a relay that is awake, is asked inline.
create or replace function notifiws.capture_body(watch_id integer, target regclass, channel text, chosen text[],
                                                 op text, shape text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select format($body$
#variable_conflict use_column
begin
    if notifiws.shape(%L::regclass) = %L then%s%s;
        if not found then
            %s
        end if;
    else
        begin
            execute notifiws.capture_fallback_sql(%s, tg_relid, tg_op);
        exception when others then
            perform notifiws.capture_failed(%s, tg_relid, sqlerrm);
        end;
    end if;
    if %s pg_trigger_depth() > 1 or current_setting('notifiws.nested', true) <> '' then
        declare
            settle text := notifiws.capture_settle_sql(%s, tg_relid, tg_op);
            rows_seen text := current_setting('row_security');
        begin
            if settle is not null then
                perform set_config('row_security', 'off', true);  -- look at all rows, or fail and say so
                execute settle;
                perform set_config('row_security', rows_seen, true);
            end if;
        exception when others then
            perform notifiws.capture_failed(%s, tg_relid, sqlerrm);
        end;
    end if;
    if coalesce(current_setting('notifiws.doorbell', true), '') <> ''
       or not pg_try_advisory_xact_lock_shared(1852797033, 2) then
        perform notifiws.ring();
    end if;
    return null;
end
$body$, target::oid::text, shape, static, ' where ' || small, case when transition is null then 'return null;' else format($big$
            if not exists (select from %s) then  -- a statement that changed no row
                return null;
            end if;
            begin  -- values so large that their texts may not fit
                %s;
            exception when others then
                perform notifiws.capture_failed(%s, tg_relid, sqlerrm);
            end;$big$, transition, static, watch_id) end, watch_id, watch_id,
        case when op = 'update' and notifiws.cascades_mix(target) then 'true or' else '' end, watch_id, watch_id)
    from (
        select notifiws.capture_sql(target, channel, chosen, upper(op)) as static,
               case op when 'delete' then 'notifiws_old' when 'truncate' then null else 'notifiws_new' end as transition,
               case op when 'insert' then notifiws.small_sql('notifiws_new', target, chosen)
                       when 'delete' then notifiws.small_sql('notifiws_old', target, chosen)
                       when 'update' then concat_ws(' and ', notifiws.small_sql('notifiws_new', target, chosen),
                                                    notifiws.small_sql('notifiws_old', target, chosen)) end as small
    ) parts
$$;
