-- A watch's condition: which rows are captured, an expression over the rows new and old. It runs as the owner of the log,
-- inside the customer's transactions, so it is let in only as one boolean expression that looks at nothing else, and what
-- fails in it is the watch's loss and never the writer's. SQL's logic: true captures; false and null do not.

-- Refuse a text that is not such an expression. Returns which columns it reads, as {"name": number}.
-- The parser judges it three times. First in brackets: what closes them, or a comment or quote that swallows them, cannot
-- parse, so that it is whole. Then in parentheses, as boolean. Last as a trigger's WHEN on a copy of the table, made and
-- undone here: where Postgres allows no subquery, aggregate, window or set.
create or replace function notifiws.check_condition(target regclass, channel text, condition text) returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
set client_min_messages = warning
set standard_conforming_strings = on
as $$
declare
    rows text := format('%1$s as new, %1$s as old', notifiws.no_row_sql(target));
    trial text := 'condition_trial_' || pg_backend_pid();
    names text[];
    found record;
    hint text;
begin
    if condition !~ '\S' then
        raise exception 'condition on % for channel % is empty', target, channel
            using errcode = 'invalid_parameter_value', hint = 'leave it out to capture all changes';
    end if;
    begin
        for found in execute format(E'select from %s where false and (array[%s\n])[1]', rows, condition) loop
        end loop;
        for found in execute format(E'select (%s\n) and true from %s', condition, rows) loop
        end loop;
        execute format('create table notifiws.%I (like %s)', trial, target);
        execute format(E'create trigger trial after update on notifiws.%I for each row when ((%s\n)) execute function notifiws.trial()',
                       trial, condition);
        select array_agg(a.attname order by a.attname) into names
        from pg_depend d
        join pg_trigger t on d.classid = 'pg_trigger'::regclass and d.objid = t.oid and t.tgrelid = d.refobjid and t.tgname = 'trial'
        join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
        where d.refobjid = ('notifiws.' || quote_ident(trial))::regclass and a.attnum > 0;
        raise exception using errcode = 'NQ000';
    exception
        when sqlstate 'NQ000' then
            null;
        when others then
            get stacked diagnostics hint = pg_exception_hint;
            raise exception 'condition on % for channel %: %', target, channel, replace(sqlerrm, 'notifiws.' || trial, target::text)
                using errcode = sqlstate, hint = concat_ws('. ', nullif(rtrim(hint, '.'), ''), format(
                    'A condition is one boolean expression over the rows new and old, without subqueries or aggregates; what is '
                    'not in pg_catalog is written with its schema; columns of %s: %s', target,
                    (select string_agg(quote_ident(c), ', ') from unnest(notifiws.column_names(target)) c)));
    end;
    return (select coalesce(jsonb_object_agg(attname, attnum), '{}') from pg_attribute
            where attrelid = target and attname = any (names) and attnum > 0 and not attisdropped);
end
$$;

-- Stands in for a trigger's function while a condition is tried.
create or replace function notifiws.trial() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$ begin return null; end $$;

-- A watch as its table is now: its chosen columns by their present names, found by number, so that a renamed one stays and
-- another that took a name does not come in. Raises when its condition reads a column that is no longer the one it meant.
create or replace function notifiws.entry_now(watch_id integer, target regclass) returns notifiws.watch_entry
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    entry notifiws.watch_entry;
    names text[] := notifiws.column_names(target);
    wrong text;
begin
    select * into strict entry from notifiws.watch_entry w where w.id = watch_id;
    if entry.target <> target then  -- a restored dump: tables and columns have other numbers
        entry.target := target;
        entry.numbers := notifiws.column_numbers(target, entry.columns);
        entry.reads := case when entry.condition is not null then notifiws.check_condition(target, entry.channel, entry.condition) end;
    end if;
    if entry.columns is not null then
        entry.columns := array(select notifiws.column_name(target, n) from unnest(entry.numbers) with ordinality as u (n, place)
                               where notifiws.column_name(target, n) = any (names) order by place);
    end if;
    select string_agg(quote_ident(r.key), ', ') into wrong
    from jsonb_each_text(entry.reads) r
    where notifiws.column_name(target, r.value::smallint) is distinct from r.key;
    if wrong is not null then
        raise exception 'the condition reads %, which is dropped or renamed', wrong using errcode = 'undefined_column';
    end if;
    return entry;
end
$$;

-- A column's present name. From the syscache, since a REPEATABLE READ snapshot may be older than the DDL.
create or replace function notifiws.column_name(target regclass, number smallint) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select object_names[3] from pg_identify_object_as_address('pg_class'::regclass, target, number) $$;

-- The numbers of some columns, 0 for one that is not there. Null for no choice.
create or replace function notifiws.column_numbers(target regclass, names text[]) returns smallint[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case when names is not null then array(
        select coalesce(a.attnum, 0) from unnest(names) with ordinality as u (name, place)
        left join pg_attribute a on a.attrelid = target and a.attname = u.name and a.attnum > 0 and not a.attisdropped
        order by u.place) end
$$;

-- The pairs of a statement's rows as FROM items new and old, each with its place before its columns. For an insert or a
-- delete the other one is a row of nulls.
create or replace function notifiws.pairs_sql(target regclass, op text, new_rows text, old_rows text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case upper(op) when 'INSERT' then format('%s new cross join %s old', new_side, nothing)
                          when 'DELETE' then format('%s old cross join %s new', old_side, nothing)
                          else format('%s new join %s old on old.%3$I = new.%3$I', new_side, old_side, place) end
    from (
        select place, format('(select row_number() over () as %I, x.* from %s x)', place, new_rows) as new_side,
               format('(select row_number() over () as %I, x.* from %s x)', place, old_rows) as old_side,
               format('(select null::bigint as %I, x.* from %s x)', place, notifiws.no_row_sql(target)) as nothing
        from (select notifiws.free_prefix(target) || 'place' as place) p
    ) parts
$$;

-- The rows of one side (new or old) that pass, by asking the condition of each pair on the spot. A FROM item.
create or replace function notifiws.passing_sql(entry notifiws.watch_entry, op text, side text, new_rows text, old_rows text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select format(E'(select %s from %s where (%s\n) order by %s.%I)',
                  (select string_agg(format('%s.%I', side, c), ', ' order by place)
                   from unnest(notifiws.column_names(entry.target)) with ordinality as u (c, place)),
                  notifiws.pairs_sql(entry.target, op, new_rows, old_rows), entry.condition, side,
                  notifiws.free_prefix(entry.target) || 'place')
$$;

-- The rows that gate_sql let pass, in a statement's trigger. A FROM item.
create or replace function notifiws.passed_sql(entry notifiws.watch_entry, rows text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select format('(select %s from (select row_number() over () as %I, x.* from %s x) x where %I[x.%I])',
                  (select string_agg(format('x.%I', c), ', ' order by place)
                   from unnest(notifiws.column_names(entry.target)) with ordinality as u (c, place)),
                  prefix || 'place', rows, prefix || 'passed', prefix || 'place')
    from (select notifiws.free_prefix(entry.target) as prefix) p
$$;

-- The part of a trigger function that asks the condition: of the row, or of all rows at once, as a list in their order.
-- Nothing is written inside its EXCEPTION block, so that it takes no transaction id. When one of many rows fails, each is
-- asked alone. Null without a condition.
create or replace function notifiws.gate_sql(entry notifiws.watch_entry, op text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    target regclass := entry.target;
    names text[] := notifiws.column_names(target);
    passed text := quote_ident(notifiws.free_prefix(target) || 'passed');
    new_rows text := notifiws.source_sql(target, entry.mode, 'new', false);
    old_rows text := notifiws.source_sql(target, entry.mode, 'old', false);
    pairs text := notifiws.pairs_sql(target, op, new_rows, old_rows);
    place text := format('%s.%I', case when op = 'delete' then 'old' else 'new' end, notifiws.free_prefix(target) || 'place');
    failed text := format('perform notifiws.capture_failed(%s, tg_relid, ''its condition failed: '' || notifiws.failure(sqlstate, sqlerrm));', entry.id);
begin
    if entry.condition is null then
        return null;
    end if;
    if entry.mode = 'row' then
        return format(E'begin\n            %s := %s;\n        exception when others then\n            %s\n        end;', passed,
            case when exists (select from notifiws.virtual_columns(target))
                 then format(E'(select (%s\n) from %s)', entry.condition, pairs) else format(E'(%s\n)', entry.condition) end, failed);
    end if;
    return format($gate$begin
            select array_agg((%s
            ) is true order by %s) into %s from %s;
        exception when others then
            %s
            begin
                select array_agg(notifiws.holds(%L, row(%s)::%s, row(%s)::%s) order by %s) into %s from %s;
            exception when others then
                null;
            end;
        end;$gate$, entry.condition, place, passed, pairs, failed, entry.condition,
        (select string_agg(format('new.%I', c), ', ' order by p) from unnest(names) with ordinality as u (c, p)), target,
        (select string_agg(format('old.%I', c), ', ' order by p) from unnest(names) with ordinality as u (c, p)), target,
        place, passed, pairs);
end
$$;

-- Whether one pair passes; false when the condition fails on it.
create or replace function notifiws.holds(condition text, new_row anyelement, old_row anyelement) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    passes boolean;
begin
    execute format(E'select (%s\n) is true from (select ($1).*) new, (select ($2).*) old', condition) into passes using new_row, old_row;
    return passes;
exception when others then
    return false;
end
$$;
