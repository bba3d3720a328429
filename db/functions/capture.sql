-- The statement that logs rows: notifiws.capture_sql writes it for a table's present shape. body.sql puts it into a
-- watch's trigger functions.
--
-- Everywhere in the generated SQL `new` and `old` are the two rows, as in a watch's condition: transition tables in a
-- statement's trigger, the trigger's own variables in a row's.

-- A table's shape as capture depends on it: its name, its columns' names, its primary key, how foreign keys may change a
-- row twice, what virtual columns compute. Null when it is gone.
-- Declared immutable, although it reads the catalogs, for a purpose: a generated function compares it with a constant,
-- the planner folds that into the cached plan, and the plan depends on the regclass constant, so Postgres itself throws
-- it away on any DDL on the table. The check costs a writer nothing. Names come from the parser and from syscache
-- functions, not from pg_attribute, since a REPEATABLE READ snapshot may be older than the DDL.
create or replace function notifiws.shape(target regclass) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
begin
    return concat_ws(' ', target::text, notifiws.column_names(target)::text, notifiws.key_columns(target)::text,
                     case when notifiws.cascades_mix(target) then 'cascades mix' end,
                     case when notifiws.key_deferrable(target) then 'deferrable key' end,
                     (select string_agg(v.name || ' = ' || v.value, ', ') from notifiws.virtual_columns(target) v));
exception when others then  -- the table is gone
    return null;
end
$$;

-- The same, and the columns' types: a row trigger's plans take the values of its row as parameters, which must not change
-- their type.
create or replace function notifiws.row_shape(target regclass) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
declare
    types text;
begin
    execute format('select array[%s]::text from (select (null::%s).*) x',
                   (select string_agg(format('pg_typeof(x.%I)', c), ', ') from unnest(notifiws.column_names(target)) c), target)
    into types;
    return notifiws.shape(target) || ' ' || types;
exception when others then
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

-- Virtual generated columns (Postgres 18), which triggers see as null, and the expressions that compute them.
create or replace function notifiws.virtual_columns(target regclass) returns table (name text, value text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select a.attname, pg_get_expr(d.adbin, d.adrelid)
    from pg_attribute a
    join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attrelid = target and a.attgenerated = 'v' and not a.attisdropped
    order by a.attnum
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

-- The primary key's columns in key order, null without one. Their names are not read by snapshot either.
-- offset 0: pg_get_indexdef locks the index's table, so it may be asked of no other table's; a planner that asked it first
-- had writers wait for whoever truncates or alters any table, and with a lock_timeout lose their events.
create or replace function notifiws.key_columns(target regclass) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select array_agg((parse_ident(pg_get_indexdef(i.indexrelid, k.place, false)))[1] order by k.place)
    from (select * from pg_index where indrelid = target and indisprimary offset 0) i
    cross join lateral generate_series(1, i.indnkeyatts) as k (place)
    where pg_get_indexdef(i.indexrelid) is not null
$$;

-- Whether two rows may have one key for a while: inside a statement, or until the transaction ends.
create or replace function notifiws.key_deferrable(target regclass) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select exists (select from pg_index where indrelid = target and indisprimary and not indimmediate) $$;

-- The columns that a watch captures, in table order: all, or the key and the chosen ones.
create or replace function notifiws.captured_columns(target regclass, chosen text[]) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(array_agg(c.name order by c.place), '{}')
    from unnest(notifiws.column_names(target)) with ordinality as c (name, place)
    where chosen is null or c.name = any (chosen) or c.name = any (notifiws.key_columns(target))
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

-- The object of some columns as JSON text, as an expression over the row called alias. In the order given.
create or replace function notifiws.object_sql(alias text, names text[]) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select format('''{'' || %s || ''}''', notifiws.members_sql(array_agg(notifiws.member_sql(alias, c) order by place)))
    from unnest(names) with ordinality as u (c, place)
$$;

-- The same, of the key, and of those other columns whose values differ in the row called other.
create or replace function notifiws.changed_sql(alias text, other text, names text[], keys text[]) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select format('''{'' || %s || ''}''', notifiws.members_sql(array_agg(
        case when c = any (keys) then notifiws.member_sql(alias, c)
             else format('case when record_image_ne(row(%s.%I), row(%s.%I)) then %s end', other, c, alias, c,
                         notifiws.member_sql(alias, c)) end
        order by place)))
    from unnest(names) with ordinality as u (c, place)
$$;

-- Whether two rows differ in any of some columns.
create or replace function notifiws.differ_sql(one text, other text, names text[]) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select case when count(*) = 0 then 'false'
                else format('record_image_ne(row(%s), row(%s))', string_agg(format('%s.%I', one, c), ', ' order by place),
                                              string_agg(format('%s.%I', other, c), ', ' order by place)) end
    from unnest(names) with ordinality as u (c, place)
$$;

-- The whole captured row as JSON text. Without a choice of columns it is the whole row, free of names.
create or replace function notifiws.row_sql(alias text, target regclass, chosen text[]) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case when chosen is null then format('row_to_json(%s.*)::text', alias)
                else notifiws.object_sql(alias, notifiws.captured_columns(target, chosen)) end
$$;

-- Rows of a relation as the table has them: virtual columns computed, and, by name, in the table's order, which a
-- partition need not have. A FROM item without its alias.
create or replace function notifiws.rows_of(target regclass, relation text, by_name boolean) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case when by_name or exists (select from notifiws.virtual_columns(target))
        then (select format('(select %s from %s)', string_agg(case when v.name is null then format('%I', c.name)
                                                                   else format('(%s) as %I', v.value, c.name) end, ', ' order by c.place), relation)
              from unnest(notifiws.column_names(target)) with ordinality as c (name, place)
              left join notifiws.virtual_columns(target) v on v.name = c.name)
        else relation end
$$;

-- Where the rows of a trigger are: a statement's transition tables, a row's variables, or (dynamic) the parameters that
-- they are passed as to EXECUTE.
create or replace function notifiws.source_sql(target regclass, mode text, which text, dynamic boolean) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case when mode = 'statement' then notifiws.rows_of(target, 'notifiws_' || which, false)
                when notifiws.is_partitioned(target) or exists (select from notifiws.virtual_columns(target))
                then notifiws.rows_of(target, row || ' x', true)
                else row end
    from (select case when not dynamic then format('(select %s.*)', which)
                      when which = 'new' then '(select ($1).*)' else '(select ($2).*)' end as row) r
$$;

create or replace function notifiws.is_partitioned(target regclass) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select exists (select from pg_class where oid = target and relkind = 'p') $$;

-- A row of nulls in the table's shape: what is not there.
create or replace function notifiws.no_row_sql(target regclass) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select format('(select (null::%s).*)', target) $$;

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

-- The INSERT that logs rows. new_rows and old_rows are FROM items that give them; one_row: each gives one.
--
-- An UPDATE's rows are paired by their place: Postgres adds the old and the new row to the two transition tables in one
-- step. By key it would go wrong where one statement moves a row twice, as two cascading foreign keys of one table do.
-- A changed key becomes a delete and an insert, in the order in which the rows were changed; where two rows may have one
-- key for a while, all deletes come before.
create or replace function notifiws.capture_sql(target regclass, channel text, chosen text[], op text, new_rows text, old_rows text,
                                                one_row boolean) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    keys text[] := notifiws.key_columns(target);
    names text[] := notifiws.captured_columns(target, chosen);
    key_new text := case when keys is null then 'null::text' else notifiws.object_sql('new', keys) end;
    key_old text := case when keys is null then 'null::text' else notifiws.object_sql('old', keys) end;
    key_changed text := case when keys is null then 'false' else notifiws.differ_sql('new', 'old', keys) end;
    row_new text := notifiws.row_sql('new', target, chosen);
    place text := notifiws.free_prefix(target) || 'place';
    whole text := notifiws.free_prefix(target) || 'row';
    pairs text;
    events text;
begin
    case op
    when 'INSERT' then
        events := format('select ''insert'' as op, %s as key, %s as new, null::text as old from %s new', key_new, row_new, new_rows);
    when 'DELETE' then
        events := format('select ''delete'' as op, %s as key, null::text as new, %s as old from %s old', key_old,
                         notifiws.row_sql('old', target, chosen), old_rows);
    when 'TRUNCATE' then
        events := 'select ''truncate'' as op, null::text as key, null::text as new, null::text as old';
    when 'UPDATE' then
        pairs := case when one_row
            then format('(select 1 as %I, %s as %I, new.* from %s new) new cross join %s old', place, row_new, whole, new_rows, old_rows)
            else format('(select row_number() over () as %1$I, %2$s as %3$I, new.* from %4$s new) new
                    join (select row_number() over () as %1$I, old.* from %5$s old) old on old.%1$I = new.%1$I',
                        place, row_new, whole, new_rows, old_rows) end;
        -- part 1 is the delete of a changed key, part 2 the update or insert
        events := format($sql$
            select case when part = 1 then 'delete' when key_changed then 'insert' else 'update' end as op,
                   case when part = 1 then key_old else key_new end as key,
                   case when part = 2 then new end as new,
                   case when part = 1 then old_row when not key_changed then old_diff end as old
            from (
                select *, generate_series(case when key_changed then 1 else 2 end, 2) as part
                from (
                    select new.%I as place, new.%I as new, %s as key_new, %s as key_old,
                           %s as key_changed,
                           case when %s then %s end as old_row,
                           case when not %s then %s end as old_diff
                    from %s
                    offset 0
                ) pairs
            ) parts
            order by %s$sql$, place, whole, key_new, key_old, key_changed, key_changed, notifiws.object_sql('old', names),
            key_changed, notifiws.changed_sql('old', 'new', names, keys), pairs,
            case when notifiws.key_deferrable(target) then 'part, place' else 'place, part' end);
    end case;
    return notifiws.log_sql(target, channel, events);
end
$$;

-- The INSERT that logs an UPDATE of one row that kept its key, and nothing where there are more, or the key changed. What
-- most statements are: pairing, numbering and sorting are most of what the general statement costs for one row.
create or replace function notifiws.one_update_sql(target regclass, channel text, chosen text[], small text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select notifiws.log_sql(target, channel, format($sql$
            select 'update' as op, %s as key, %s as new, %s as old
            from notifiws_new new cross join notifiws_old old
            where not exists (select from notifiws_new offset 1) and not %s and %s$sql$,
        case when keys is null then 'null::text' else notifiws.object_sql('new', keys) end,
        notifiws.row_sql('new', target, chosen),
        notifiws.changed_sql('old', 'new', notifiws.captured_columns(target, chosen), keys),
        case when keys is null then 'false' else notifiws.differ_sql('new', 'old', keys) end, small))
    from notifiws.key_columns(target) keys
$$;
