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

-- Reading the log by ticks.

-- The transactions that are visible in s2 and not in s1, as disjoint ranges [lo, hi): what began since s1's end and is
-- over in s2, and what s1 saw running and s2 no longer does. Transactions still running are cut out of the ranges, so
-- that a million rows of an open one are not read again by every cut, and nothing is ever searched from s1's xmin.
create or replace function notifiws.tx_ranges(s1 pg_snapshot, s2 pg_snapshot) returns table (lo xid8, hi xid8)
language sql immutable parallel safe rows 4
set search_path = pg_catalog, pg_temp
as $$
    select edge.lo, edge.hi
    from (
        select coalesce(lag(running) over (order by running) + 1, pg_snapshot_xmax(s1)::text::bigint)::text::xid8 as lo,
               running::text::xid8 as hi
        from (
            select x::text::bigint as running from pg_snapshot_xip(s2) as x where x >= pg_snapshot_xmax(s1)
            union all
            select pg_snapshot_xmax(s2)::text::bigint
        ) as stops
    ) as edge
    where edge.lo < edge.hi
    union all
    select x, (x::text::bigint + 1)::text::xid8
    from pg_snapshot_xip(s1) as x
    where pg_visible_in_snapshot(x, s2)
$$;

-- Cut the log once. Nothing new: no row returned, none written. Else the next tick is recorded, and its events come
-- ordered by id, or, beyond max_rows or max_bytes, one row with more = true: the caller pages through it by cursor.
-- One caller at a time: the leader. A second one is refused, for two ticks of one number would break every position.
create or replace function notifiws.cut(max_rows integer, max_bytes bigint)
returns table (tick bigint, tick_at timestamptz, snapshot text, more boolean, id bigint, tx text, channel text, op text,
               source text, key text, new text, old text, payload text, is_json boolean, at timestamptz)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    last_number bigint;
    s1 pg_snapshot;
    s2 pg_snapshot;
    found_rows bigint;
    found_bytes bigint;
    now_at timestamptz;
begin
    if not pg_try_advisory_xact_lock(1852797033, 4) then
        raise exception 'another session is cutting the log' using errcode = 'object_in_use';
    end if;
    select t.number, t.snapshot into strict last_number, s1 from notifiws.tick t order by t.number desc limit 1;
    s2 := pg_current_snapshot();
    select count(*), coalesce(sum(bytes), 0) into found_rows, found_bytes
    from (
        select o.bytes
        from notifiws.tx_ranges(s1, s2) r
        cross join lateral (select o.bytes from notifiws.outbox o where o.tx >= r.lo and o.tx < r.hi offset 0) o
        limit max_rows + 1
    ) page;
    if found_rows = 0 then
        return;
    end if;
    now_at := clock_timestamp();
    insert into notifiws.tick (number, slot, snapshot, at) values (last_number + 1, notifiws.slot(), s2, now_at);
    if found_rows > max_rows or found_bytes > max_bytes then
        return query select last_number + 1, now_at, s2::text, true, null::bigint, null::text, null::text, null::text,
            null::text, null::text, null::text, null::text, null::text, null::boolean, null::timestamptz;
        return;
    end if;
    return query
        select last_number + 1, now_at, s2::text, false, o.id, o.tx::text, o.channel, o.op,
               o.source, o.key, o.new, o.old, o.payload, o.is_json, o.at
        from notifiws.tx_ranges(s1, s2) r
        cross join lateral (select * from notifiws.outbox o where o.tx >= r.lo and o.tx < r.hi offset 0) o
        order by o.id;
end
$$;

-- Events that are no row change: emitted by hand, or adopted from plain NOTIFY channels.

-- A custom event, inside the caller's transaction. For members of notifiws_emitter.
create or replace function notifiws.emit(channel text, payload jsonb) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    body text := payload::text;
begin
    perform notifiws.check_channel(channel);
    if body is null then
        raise exception 'emit needs a payload'
            using errcode = 'null_value_not_allowed', hint = 'for a JSON null write ''null''::jsonb';
    end if;
    insert into notifiws.outbox (slot, channel, op, payload, bytes, at)
    values (notifiws.slot(), channel, 'emit', body, octet_length(body), clock_timestamp());
    perform notifiws.ring();
end
$$;

-- Relay a plain NOTIFY channel. Adopting it again changes its public name.
create or replace function notifiws.adopt(pg_channel text, channel text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
begin
    perform notifiws.check_channel(channel);
    if coalesce(octet_length(pg_channel), 0) not between 1 and 63 then
        raise exception 'NOTIFY channel % is not one that NOTIFY allows', coalesce(quote_literal(pg_channel), 'null')
            using errcode = 'invalid_parameter_value', hint = '1 to 63 bytes';
    end if;
    if pg_channel in ('notifiws', 'notifiws_config', 'notifiws_probe', 'notifiws_farewell') then
        raise exception 'NOTIFY channel % is used by notifiws itself', quote_literal(pg_channel)
            using errcode = 'invalid_parameter_value', hint = 'adopt the channel that your own trigger notifies';
    end if;
    insert into notifiws.adopted as a (pg_channel, channel) values (pg_channel, channel)
    on conflict on constraint adopted_pkey do update set channel = excluded.channel;
    perform pg_notify('notifiws_config', '');
end
$$;

create or replace function notifiws.unadopt(pg_channel text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
begin
    delete from notifiws.adopted a where a.pg_channel = pg_channel;
    if not found then
        raise exception 'NOTIFY channel % is not adopted', coalesce(quote_literal(pg_channel), 'null')
            using errcode = 'undefined_object', hint = 'notifiws.adopted lists those that are';
    end if;
    perform pg_notify('notifiws_config', '');
end
$$;

-- Whether a text is JSON. (IS JSON came with Postgres 16.)
create or replace function notifiws.is_json(body text) returns boolean
language plpgsql immutable strict
set search_path = pg_catalog, pg_temp
as $$
begin
    perform body::json;
    return true;
exception when others then
    return false;
end
$$;

-- Payloads of adopted channels, in the order they came, each under its public channel. Called by the relay, which is
-- awake, so no bell. Names that the relay took from notifiws.adopted are not checked again.
create or replace function notifiws.adopt_payloads(channels text[], payloads text[]) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
    insert into notifiws.outbox (slot, channel, op, payload, is_json, bytes, at)
    select notifiws.slot(), p.channel, 'notify', p.payload, notifiws.is_json(p.payload), octet_length(p.payload),
           clock_timestamp()
    from unnest(channels, payloads) with ordinality as p (channel, payload, place)
    order by p.place
$$;

-- One epoch is one unbroken history. The leader starts a new one when the database is another or an earlier one than
-- the log says; it never guesses, notifiws.log_broken says why.

-- Why the log cannot be gone on with, or null. (That Redis' head is ahead of the log, only the relay can see.)
create or replace function notifiws.log_broken() returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when m.system_identifier <> s.system_identifier::text then 'another system identifier: a dump restored elsewhere'
        when pg_snapshot_xmax(t.snapshot) > pg_snapshot_xmax(pg_current_snapshot()) then 'the last tick is beyond the current snapshot'
    end
    from notifiws.meta m, pg_control_system() s,
         (select snapshot from notifiws.tick order by number desc limit 1) t
$$;

-- A new epoch, from the present snapshot on; returns its name. Rows of transactions that this cluster has not reached
-- yet came with a dump: they would be cut again when it does reach them, so the log is then emptied.
create or replace function notifiws.start_epoch() returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    name text := substr(md5(gen_random_uuid()::text), 1, 8);
    last_number bigint;
begin
    if not pg_try_advisory_xact_lock(1852797033, 4) then
        raise exception 'another session is cutting the log' using errcode = 'object_in_use';
    end if;
    select max(number) into strict last_number from notifiws.tick;
    if exists (select from notifiws.outbox where tx >= pg_snapshot_xmax(pg_current_snapshot()))
       or (select system_identifier from notifiws.meta) <> (select system_identifier::text from pg_control_system()) then
        perform notifiws.with_short_lock(array['truncate notifiws.outbox']);
    end if;
    perform notifiws.with_short_lock(array['truncate notifiws.tick']);
    update notifiws.meta
    set epoch = name, horizon = last_number + 1,
        system_identifier = (select s.system_identifier::text from pg_control_system() s);
    insert into notifiws.tick (number, slot, snapshot) values (last_number + 1, notifiws.slot(), pg_current_snapshot());
    return name;
end
$$;

-- Part of the contract, built later: refused, never ignored.

create or replace function notifiws.live_query(channel text, query text, depends_on regclass[],
    throttle interval default '250 ms', every interval default null) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform notifiws.unsupported('live queries are not built yet', 'watch the tables and compute the result in the client');
end
$$;

create or replace function notifiws.drop_live_query(channel text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform notifiws.unsupported('live queries are not built yet', 'there is none to drop');
end
$$;

-- Writing to the log: which slot is current, what a channel may be called, and the doorbell.

-- The slot being written: slots follow each other in time, so that a whole one can be truncated when it is old.
-- notifiws.rotate replaces this function when the retention asks for longer slots.
create or replace function notifiws.slot() returns smallint
language sql volatile parallel safe
return (date_part('epoch', clock_timestamp())::bigint / 14400 % 8)::smallint;

create or replace function notifiws.check_channel(channel text) returns void
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    if channel is null or channel !~ '^[a-z0-9][a-z0-9_.:-]{0,127}$' then
        raise exception 'channel % is not a channel name', coalesce(quote_literal(left(channel, 140)), 'null')
            using errcode = 'invalid_parameter_value',
                  hint = '1 to 128 characters of a-z 0-9 _ . : -, the first a letter or digit';
    end if;
end
$$;

-- The doorbell. A relay about to sleep holds the key exclusively; a granted shared lock therefore means that none
-- sleeps, and is the barrier that the relay's next try waits behind: every silent writer has ended before it sleeps.
-- NOTIFY serializes commits database-wide, so it is paid only while somebody sleeps, and not at all past half a queue
-- (a full one would fail the commit). `set notifiws.doorbell = off`: for PREPARE TRANSACTION, which refuses NOTIFY.
create or replace function notifiws.ring() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if coalesce(lower(current_setting('notifiws.doorbell', true)), 'on') in ('off', 'false', 'no', '0') then
        return;
    end if;
    if pg_try_advisory_xact_lock_shared(1852797033, 2) then
        return;
    end if;
    if pg_notification_queue_usage() < 0.5 then
        perform pg_notify('notifiws', '');
    end if;
end
$$;

-- The log's end: slots are truncated whole, each when nothing in it is younger than the retention. Never a DELETE, so a
-- held snapshot bloats nothing; never a wait for a lock, so nobody queues behind it. What is missed now goes next time.

create or replace function notifiws.rotate(retention interval) returns text[]
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
    seconds integer := greatest(14400, ceil(extract(epoch from retention) / 6))::integer;
    edge record;
    slot integer;
    busy boolean;
    truncated text[] := '{}';
begin
    -- Eight slots must hold more than the retention, or a slot would come round again before it is old.
    if seconds > (select slot_seconds from notifiws.meta) then
        execute format('create or replace function notifiws.slot() returns smallint language sql volatile parallel safe '
                       'return (date_part(''epoch'', clock_timestamp())::bigint / %s %% 8)::smallint', seconds);
        update notifiws.meta set slot_seconds = seconds;
    end if;
    -- The newest tick older than the retention; not the last one, which may not be published yet.
    select t.number, t.snapshot into edge
    from notifiws.tick t
    where t.at < clock_timestamp() - retention and t.number < (select max(number) from notifiws.tick)
    order by t.number desc limit 1;
    if not found then
        return truncated;
    end if;
    for slot in 0 .. 7 loop
        continue when slot = notifiws.slot();
        for attempt in 1 .. 2 loop  -- look, then lock and look again
            execute format(
                'select exists (select from notifiws.%1$I where tx >= pg_snapshot_xmax($1)) '
                '    or exists (select from notifiws.%1$I where tx = any (array(select pg_snapshot_xip($1)))) '
                '    or not exists (select from notifiws.%1$I)', 'outbox_' || slot) into busy using edge.snapshot;
            exit when busy;
            if attempt = 1 then
                begin
                    execute format('lock table notifiws.%I in access exclusive mode nowait', 'outbox_' || slot);
                exception when lock_not_available then
                    exit;
                end;
            else
                execute format('truncate notifiws.%I', 'outbox_' || slot);
                truncated := truncated || ('outbox_' || slot);
            end if;
        end loop;
        -- Ticks up to the edge are not needed but for the edge itself, where the next one begins.
        execute format('select coalesce(max(number) >= $1, true) from notifiws.%I', 'tick_' || slot) into busy using edge.number;
        if not busy then
            begin
                execute format('lock table notifiws.%I in access exclusive mode nowait', 'tick_' || slot);
                execute format('truncate notifiws.%I', 'tick_' || slot);
                truncated := truncated || ('tick_' || slot);
            exception when lock_not_available then
                null;
            end;
        end if;
    end loop;
    -- What was truncated belonged to ticks up to the edge: positions there are expired, said and never answered short.
    if truncated <> '{}' then
        update notifiws.meta set horizon = edge.number;
    end if;
    return truncated;
end
$$;

-- Applying the functions has made notifiws.slot() anew; the next rotate lengthens it again where the retention asks.
update notifiws.meta set slot_seconds = 14400;

-- Changes inside changes. Postgres fires a statement's trigger after its rows' triggers, and the triggers of cascades once
-- for all of them; so a change made meanwhile to the same table is logged before the statement that it came after. The
-- outer capture then settles: it looks at what its rows have become, and logs that. In order, the events end at the table.

-- Whether this table was written inside a statement on it that is not over. Called by captures only inside triggers, or
-- when an inner one has left its note; the note holds for one client statement.
create or replace function notifiws.nested(target regclass) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    stamp text := statement_timestamp()::text || '@';
    note text := coalesce(current_setting('notifiws.nested', true), '');
    mark text := ' ' || target::oid || ' ';
begin
    if not starts_with(note, stamp) then
        note := stamp;
    end if;
    if position(mark in note) > 0 then
        return true;
    end if;
    if pg_trigger_depth() > 1 then
        perform set_config('notifiws.nested', note || mark, true);
    end if;
    return false;
end
$$;

-- Whether one statement may both update a row, setting a foreign key null, and delete it, following another.
create or replace function notifiws.cascades_mix(target regclass) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select exists (select from pg_constraint where conrelid = target and contype = 'f' and confdeltype = 'c')
       and exists (select from pg_constraint where conrelid = target and contype = 'f' and confdeltype in ('n', 'd'))
$$;

-- Equality of two rows' keys, by the operators of the key's own index.
create or replace function notifiws.same_key_sql(one text, other text, target regclass) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select string_agg(format('%s.%I operator(%I.%s) %s.%I', one, k.name, s.nspname, o.oprname, other, k.name), ' and ')
    from pg_index i
    cross join unnest(notifiws.key_columns(target)) with ordinality as k (name, place)
    join pg_opclass c on c.oid = i.indclass[k.place - 1]
    join pg_amop a on a.amopfamily = c.opcfamily and a.amoplefttype = c.opcintype and a.amoprighttype = c.opcintype
                  and a.amopstrategy = 3
    join pg_operator o on o.oid = a.amopopr
    join pg_namespace s on s.oid = o.oprnamespace
    where i.indrelid = target and i.indisprimary
$$;

-- The INSERT that logs what the rows of a statement have become since. Null without a key: then nothing can be looked up.
create or replace function notifiws.settle_sql(target regclass, channel text, chosen text[], op text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    keys text[] := notifiws.key_columns(target);
    names text[] := notifiws.captured_columns(target, chosen);
    columns text;
    written text;    -- rows that the statement wrote, last version of each key
    gone text;       -- rows that it took away, where the key is there again
    key_now text;
    key_written text;
    row_now text := notifiws.row_sql('c', target, chosen);
    row_written text;
    diff text;
    wrote text;
begin
    if keys is null then
        return null;
    end if;
    select string_agg(format('n.%I', k), ', ') into columns from unnest(keys) k;
    select format('''{'' || %s || ''}''', notifiws.members_sql(array_agg(notifiws.member_sql('c', k) order by place))),
           format('''{'' || %s || ''}''', notifiws.members_sql(array_agg(notifiws.member_sql('n', k) order by place)))
    into key_now, key_written from unnest(keys) with ordinality as u (k, place);
    select format('''{'' || %s || ''}''', notifiws.members_sql(array_agg(notifiws.member_sql('n', c) order by place))),
           format('''{'' || %s || ''}''', notifiws.members_sql(array_agg(
               case when c = any (keys) then notifiws.member_sql('n', c)
                    else format('case when record_image_ne(row(n.%I), row(c.%I)) then %s end', c, c, notifiws.member_sql('n', c)) end
               order by place))),
           string_agg(format('record_image_ne(row(n.%I), row(c.%I))', c, c), ' or ')
    into row_written, diff, wrote
    from unnest(names) with ordinality as u (c, place);
    written := format(replace($sql$
        select case when c.ctid is null then 'delete' else 'update' end as op, %s as key, case when c.ctid is not null then %s end as new,
               case when c.ctid is null then %s else %s end as old
        from (select *, row_number() over (partition by %s order by "notifiws#" desc) as "notifiws#last"
              from (select row_number() over () as "notifiws#", n.* from notifiws_new n) n) n
        left join only %s c on %s
        where "notifiws#last" = 1 and (c.ctid is null or %s)$sql$, 'notifiws#', notifiws.free_prefix(target)),
        key_written, row_now, row_written, diff, columns, target, notifiws.same_key_sql('n', 'c', target), coalesce(wrote, 'false'));
    gone := format($sql$
        select 'insert' as op, %s as key, %s as new, null::text as old
        from only %s c
        where exists (select from notifiws_old o where %s)$sql$,
        key_now, row_now, target, notifiws.same_key_sql('o', 'c', target));
    return notifiws.log_sql(target, channel, case op
        when 'INSERT' then written
        when 'DELETE' then gone
        when 'TRUNCATE' then format('select ''insert'' as op, %s as key, %s as new, null::text as old from only %s c', key_now, row_now, target)
        else written || ' union all ' || gone || format(' and not exists (select from notifiws_new n where %s)',
                                                         notifiws.same_key_sql('n', 'c', target)) end);
end
$$;

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

-- What is watched, and whether its triggers are in force.

drop view if exists notifiws.watches;
drop view if exists notifiws.watched;

-- Each entry with its table as its triggers show it: a dump restored elsewhere gives tables other oids.
create view notifiws.watched as
select w.id, c.oid::regclass as target, coalesce(quote_ident(s.nspname) || '.' || quote_ident(c.relname), w.source) as name, w.channel, w.events, w.columns, w.condition,
       w.snapshot, w.always, w.shape, w.created_at, coalesce(t.enabled, 0) as enabled, coalesce(t.present, 0) as present
from notifiws.watch_entry w
left join lateral (
    select t.tgrelid as target, count(*) as present, count(*) filter (where t.tgenabled in ('O', 'A')) as enabled
    from pg_trigger t
    where t.tgfoid in (select notifiws.capture_functions(w.id))
    group by t.tgrelid
    order by count(*) desc
    limit 1
) t on true
left join pg_class c on c.oid = coalesce(t.target, w.target)
left join pg_namespace s on s.oid = c.relnamespace;

create view notifiws.watches as
select w.channel, w.name as table, w.events, w.columns, w.condition, w.snapshot, w.always,
       problem is null or problem like 'changed%' as in_force, problem, w.created_at
from (
    select w.*,
        case
            when w.target is null then 'the table is gone: unwatch it'
            when w.present < cardinality(w.events) then 'triggers are missing: watch it again'
            when w.enabled < cardinality(w.events) then 'triggers are disabled: alter table … enable trigger'
            when i.message is not null then 'events were lost at ' || i.at || ' (' || i.message || '): watch it again'
            when not has_table_privilege(w.target, 'select') then 'changed: grant select on it to ' || current_user || ' again'
            when notifiws.shape(w.target) <> w.shape then 'changed since: captured by the slow way until the listener or notifiws.refresh_watches() adapts'
            when cardinality(w.columns) > (select count(*) from pg_attribute a where a.attrelid = w.target
                 and a.attname = any (w.columns) and not a.attisdropped) then 'changed: a chosen column is gone, the rest is captured'
        end as problem
    from notifiws.watched w
    left join lateral (select * from notifiws.incident i where i.watch = w.id order by i.at desc limit 1) i on true
) w;

-- Who may use schema notifiws: its owner everything, members of notifiws_emitter one function, others nothing. Writers of
-- watched tables need no grant, since a trigger's function is not looked up by them. Roles belong to the whole cluster, so
-- another database, or another migrate at this moment, may have made this one.

do $$
begin
    if not exists (select from pg_roles where rolname = 'notifiws_emitter') then
        create role notifiws_emitter nologin;
    end if;
exception when duplicate_object or unique_violation then
    null;
end
$$;

revoke all on schema notifiws from public;
revoke all on all tables in schema notifiws from public;
revoke all on all functions in schema notifiws from public;
grant usage on schema notifiws to notifiws_emitter;
grant execute on function notifiws.emit(text, jsonb) to notifiws_emitter;
