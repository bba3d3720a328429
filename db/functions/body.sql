-- The trigger functions of a watch: notifiws.capture_body writes one, static SQL that is planned once a session and, while
-- the table keeps its shape, all that a writer pays. Whatever goes wrong in it, the writer goes on, and the loss is said.

-- The watched table whose trigger fired: the table itself, or the one that its partition's trigger was cloned from.
create or replace function notifiws.watched_root(watch_id integer, relation regclass) returns regclass
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    root regclass;
begin
    if not exists (select from pg_class where oid = relation and relispartition) then
        return relation;
    end if;
    select t.tgrelid into root
    from pg_trigger t
    join pg_partition_ancestors(relation) a on a.relid = t.tgrelid
    where t.tgfoid in (select notifiws.capture_functions(watch_id)) and t.tgparentid = 0 and t.tgname !~ '_part$'
    limit 1;
    return coalesce(root, relation);
end
$$;

-- The way for a table whose shape is no longer the one its function was generated for: slower, never wrong. Rows come as
-- parameters where a row's trigger runs it. A row that fails the condition is not there.
create or replace function notifiws.capture_fallback_sql(watch_id integer, target regclass, op text) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
declare
    entry notifiws.watch_entry := notifiws.entry_now(watch_id, notifiws.watched_root(watch_id, target));
    new_rows text := notifiws.source_sql(entry.target, entry.mode, 'new', true);
    old_rows text := notifiws.source_sql(entry.target, entry.mode, 'old', true);
    passing_new text := new_rows;
    passing_old text := old_rows;
begin
    if entry.condition is not null and op <> 'TRUNCATE' then
        passing_new := notifiws.passing_sql(entry, op, 'new', new_rows, old_rows);
        passing_old := notifiws.passing_sql(entry, op, 'old', new_rows, old_rows);
    end if;
    return notifiws.capture_sql(entry.target, entry.channel, entry.columns, op, passing_new, passing_old, entry.mode = 'row');
end
$$;

-- See settle.sql. Null when there is nothing to settle, or by nothing to look rows up.
create or replace function notifiws.capture_settle_sql(watch_id integer, target regclass, op text) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
declare
    root regclass := notifiws.watched_root(watch_id, target);
    entry notifiws.watch_entry;
begin
    select * into strict entry from notifiws.watch_entry w where w.id = watch_id;
    if not notifiws.nested(root) and not notifiws.restless(root, op, entry.mode) then
        return null;
    end if;
    return notifiws.settle_sql(notifiws.entry_now(watch_id, root), op);
end
$$;

-- What went wrong, without the values it went wrong with: it is said in the listener's log and /readyz, which others read
-- than the table. Errors about data (classes 22 and 23) quote it, in any language's quotes; a text that a function of the customer's raises is its own.
create or replace function notifiws.failure(code text, message text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select case when left(code, 2) in ('22', '23') then regexp_replace(message, '["«»„“”].*["«»„“”]', '"…"')
                when code = 'P0001' then 'a function raised an exception (P0001)'
                else message end
$$;

-- Say that something was lost: in the server's log, ten times a statement at most, and by notifiws.watches, once a minute.
create or replace function notifiws.capture_failed(watch_id integer, target regclass, message text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    stamp text := statement_timestamp()::text || '@';
    note text := coalesce(current_setting('notifiws.failed', true), '');
begin
    if not starts_with(note, stamp) then
        note := stamp;
    end if;
    if length(note) < length(stamp) + 10 then
        perform set_config('notifiws.failed', note || '+', true);
        raise warning 'notifiws could not capture changes of %: %', target, message
            using hint = 'run notifiws.watch on the table again; clients of its channel have to fetch afresh';
    end if;
    insert into notifiws.incident (watch, message)
    select w.id, message
    from notifiws.watch_entry w
    where w.id = watch_id
      and not exists (select from notifiws.incident i where i.watch = watch_id and i.at > clock_timestamp() - interval '1 minute');
end
$$;

-- Whether no row could be more than a JSON text, or a row of the log, can hold (1 GB each): by what its values take now,
-- compressed perhaps. Compression makes them at most 255 times smaller, JSON's escapes at most 6 times longer, so that all
-- columns together stay below. An expression without a column of the query around it: it is asked once a statement,
-- before any text is made, and costs some tens of nanoseconds a value.
create or replace function notifiws.small_sql(transition text, target regclass, chosen text[]) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select format('not exists (select from %s t where %s)', transition, notifiws.large_sql('t', target, chosen))
$$;

-- The opposite, of one row. Columns of a fixed length are not asked.
create or replace function notifiws.large_sql(alias text, target regclass, chosen text[]) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case when bool_or(c.may)
        then format('greatest(%s) > %s', string_agg(format('pg_column_size(%s.%I)', alias, c.name), ', ') filter (where c.may),
                    least(32768, 600000 / count(*)))
        else 'false' end
    from (
        select n as name, not exists (select from pg_attribute a where a.attrelid = target and a.attname = n and a.attlen > 0) as may
        from unnest(notifiws.captured_columns(target, chosen)) n
    ) c
$$;

-- The text of a watch's trigger function for one op. Every expression here is paid by every writer's statement, so there
-- are few: the bell's usual case, a relay that is awake, is asked inline.
create or replace function notifiws.capture_body(entry notifiws.watch_entry, op text, shape text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    target regclass := entry.target;
    in_row boolean := entry.mode = 'row' and op <> 'truncate';
    gate text := case when op <> 'truncate' then notifiws.gate_sql(entry, op) end;
    new_rows text := notifiws.source_sql(target, entry.mode, 'new', false);
    old_rows text := notifiws.source_sql(target, entry.mode, 'old', false);
    passed text := quote_ident(notifiws.free_prefix(target) || 'passed');
    static text;
    small text;
    sturdy text;   -- the statement that may fail, which its writer must not
    idle text := format($idle$
            if not exists (select from %s) then  -- a statement that changed no row
                return null;
            end if;$idle$, case when op = 'delete' then 'notifiws_old' else 'notifiws_new' end);
    capture text;
    using_rows text := case when in_row then ' using new, old' else '' end;
begin
    if entry.stopped is not null then
        return E'\nbegin\n    return null;  -- stopped, see notifiws.watches\nend\n';
    end if;
    if gate is not null and not in_row then
        new_rows := notifiws.passed_sql(entry, new_rows);
        old_rows := notifiws.passed_sql(entry, old_rows);
    end if;
    static := notifiws.capture_sql(target, entry.channel, entry.columns, upper(op), new_rows, old_rows, in_row);
    small := concat_ws(' and ',
        case when op in ('insert', 'update') then notifiws.small_sql(new_rows, target, entry.columns) end,
        case when op in ('update', 'delete') then notifiws.small_sql(old_rows, target, entry.columns) end);
    sturdy := format($sturdy$
        begin
            %s;
        exception when others then
            perform notifiws.capture_failed(%s, tg_relid, notifiws.failure(sqlstate, sqlerrm));
        end;$sturdy$, static, entry.id);
    capture := case
        when op = 'truncate' then static || ';'
        when exists (select from notifiws.virtual_columns(target)) then sturdy  -- what they compute may fail
        when in_row or gate is not null then format($fast$%s where %s;
        if not found then%s  -- values so large that their texts may not fit
        end if;$fast$, static, small, sturdy)
        when op = 'update' and not notifiws.key_deferrable(target) then format($fast$%s;
        if not found then%s
            %s where %s;
            if not found then%s  -- values so large that their texts may not fit
            end if;
        end if;$fast$, notifiws.one_update_sql(target, entry.channel, entry.columns,
                format('not (%s or %s)', notifiws.large_sql('new', target, entry.columns),
                       notifiws.large_sql('old', target, entry.columns))), idle, static, small, sturdy)
        else format($fast$%s where %s;
        if not found then%s%s  -- values so large that their texts may not fit
        end if;$fast$, static, small, idle, sturdy) end;
    if gate is not null then
        capture := format(E'%s\n        if %s then%s\n        end if;', gate,
                          case when in_row then passed else format('true = any (%s)', passed) end, capture);
    end if;
    return format($body$
#variable_conflict use_column
%sbegin
    if notifiws.%I(%L::regclass) = %L then
        %s
    else
        begin
            execute notifiws.capture_fallback_sql(%s, tg_relid, tg_op)%s;
        exception when others then
            perform notifiws.capture_failed(%s, tg_relid, notifiws.failure(sqlstate, sqlerrm));
        end;
        -- what the table needs now may be a second look, too
        perform set_config('notifiws.nested', coalesce(nullif(current_setting('notifiws.nested', true), ''), '-'), true);
    end if;
    if %s pg_trigger_depth() > 1 or current_setting('notifiws.nested', true) <> '' then
        declare
            settle text;
            rows_seen text := current_setting('row_security');
        begin
            settle := notifiws.capture_settle_sql(%s, tg_relid, tg_op);
            if settle is not null then
                perform set_config('row_security', 'off', true);  -- look at all rows, or fail and say so
                execute settle%s;
                perform set_config('row_security', rows_seen, true);
            end if;
        exception when others then
            perform notifiws.capture_failed(%s, tg_relid, notifiws.failure(sqlstate, sqlerrm));
        end;
    end if;
    if coalesce(current_setting('notifiws.doorbell', true), '') <> ''
       or not pg_try_advisory_xact_lock_shared(1852797033, 2) then
        perform notifiws.ring();
    end if;
    return null;
end
$body$, case when gate is not null then format(E'declare\n    %s %s;\n', passed, case when in_row then 'boolean' else 'boolean[]' end)
             else '' end,
        case when entry.mode = 'row' then 'row_shape' else 'shape' end, target::oid::text, shape, capture,
        entry.id, using_rows, entry.id, case when notifiws.restless(target, upper(op), entry.mode) then 'true or' else '' end,
        entry.id, using_rows, entry.id);
end
$$;
