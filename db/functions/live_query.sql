-- Live queries: what is declared. The leader of the listener runs them (result.sql), when a table that one depends on
-- was written to (dependency.sql), and at each multiple of `every`.

-- Refuse what is not one SELECT that changes nothing and returns named columns. It is opened and not run, read-only, and
-- named as a view would be; each time inside a subtransaction that is rolled back, and the settings with it.
create or replace function notifiws.check_live_query(query text, path text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    rows refcursor;
    columns integer;
    wrapped text := format(E'select * from (%s\n) q', query);
    named text := format('create view notifiws.live_query_columns as %s', query);
    mend text := 'one SELECT (or WITH … SELECT) without parameters, that changes nothing and locks no rows';
    hint text;
begin
    begin
        set local transaction_read_only = on;
        perform set_config('search_path', path, true);
        open rows for execute query;  -- as it stands: one statement, whose parentheses are its own
        close rows;
        open rows for execute wrapped;
        close rows;
        raise exception using errcode = 'NQ000';
    exception
        when sqlstate 'NQ000' then
            null;
        when others then
            get stacked diagnostics hint = pg_exception_hint;
            raise exception 'this is no live query: %', sqlerrm using errcode = sqlstate, hint = concat_ws('; ', nullif(hint, ''), mend);
    end;
    mend := 'give each column a name of its own with AS, and a temporary table''s rows to a permanent one';
    begin
        set local client_min_messages = error;
        perform set_config('search_path', path, true);
        execute named;
        perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
        select relnatts into columns from pg_class where oid = 'notifiws.live_query_columns'::regclass;
        if columns = 0 then
            raise exception 'it returns no column' using errcode = 'invalid_parameter_value';
        end if;
        raise exception using errcode = 'NQ000';
    exception
        when sqlstate 'NQ000' then
            null;
        when others then
            get stacked diagnostics hint = pg_exception_hint;
            raise exception 'this is no live query: %', sqlerrm using errcode = sqlstate, hint = concat_ws('; ', nullif(hint, ''), mend);
    end;
end
$$;

create or replace function notifiws.declare_live_query(channel text, query text, depends_on regclass[], throttle interval,
                                                       every interval, path text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    body text := rtrim(query, E' \t\r\n;');
    version bigint := nextval('notifiws.live_query_number');
    owner name := (select pg_get_userbyid(nspowner) from pg_namespace where nspname = 'notifiws');
    target regclass;
    tables integer[];
    open_schemas text;
begin
    perform notifiws.check_channel(channel);
    if exists (select from notifiws.watch_entry w where w.channel = channel)
       or exists (select from notifiws.adopted a where a.channel = channel) then
        raise exception 'channel % carries the events of a watched table or an adopted NOTIFY channel', quote_literal(channel)
            using errcode = 'object_in_use', hint = 'a live query wants a channel of its own: its newest event is the result';
    end if;
    if nullif(body, '') is null then
        raise exception 'a live query needs a query' using errcode = 'null_value_not_allowed';
    end if;
    if throttle is null or not isfinite(throttle) or throttle < interval '10 ms' or throttle > interval '1 day' then
        raise exception 'throttle % is not between 10 ms and 1 day', coalesce(throttle::text, 'null')
            using errcode = 'invalid_parameter_value', hint = 'the least time from one run to the next, such as ''250 ms''';
    end if;
    if every is not null and (not isfinite(every) or every <= interval '0' or every > interval '366 days') then
        raise exception 'every % is no time span above zero', every
            using errcode = 'invalid_parameter_value', hint = 'such as ''1 minute''; null: run when a table changes, and only then';
    end if;
    if coalesce(cardinality(depends_on), 0) = 0 and (depends_on is null or every is null) then
        raise exception 'a live query depends on nothing and would never run again'
            using errcode = 'invalid_parameter_value',
                  hint = 'name the tables whose changes matter, as in ''{ventas,stock}''; or give ''{}'' and an interval for "every"';
    end if;
    foreach target in array depends_on loop
        perform notifiws.check_dependency(target);
    end loop;
    perform notifiws.check_live_query(body, path);
    if not pg_has_role(owner, current_user, 'member') then
        raise warning 'a listener that connects as % may not run this as %', owner, current_user
            using hint = format('grant %I to %I, or declare it as %I', current_user, owner, owner);
    end if;
    select string_agg(quote_ident(nspname), ', ') into open_schemas
    from pg_namespace
    where has_schema_privilege('public', oid, 'create')
      and nspname in (select case btrim(s, ' "') when '$user' then current_user else btrim(s, ' "') end from unnest(string_to_array(path, ',')) s);
    if open_schemas is not null then
        raise warning 'anybody may create functions in schema %, which this query would then call as %', open_schemas, current_user
            using hint = format('revoke create on schema %s from public', open_schemas);
    end if;
    perform pg_advisory_xact_lock(1852797033, 5);
    foreach target in array depends_on loop
        tables := tables || notifiws.touched(target);
    end loop;
    insert into notifiws.live_query_entry as e (channel, version, query, role, search_path, tables, throttle, every)
    values (channel, version, body, current_user, path, coalesce(tables, '{}'), throttle, every)
    on conflict on constraint live_query_entry_pkey do update
    set version = version, query = body, role = current_user, search_path = path, tables = excluded.tables,
        throttle = throttle, every = every, created_at = now();
    insert into notifiws.live_query_state as s (channel, version) values (channel, version)
    on conflict on constraint live_query_state_pkey do update set version = version, last_error = null;
    perform notifiws.settle_touches(tables);
    perform pg_notify('notifiws_config', '');
end
$$;

-- Publish a query's rows on a channel, anew whenever they change. Declaring it again replaces it. Has no search_path of
-- its own: the query runs with the caller's. All names in it are bound when it is made.
create or replace function notifiws.live_query(channel text, query text, depends_on regclass[],
    throttle interval default '250 ms', every interval default null) returns void
language sql
return notifiws.declare_live_query(channel, query, depends_on, throttle, every, pg_catalog.current_setting('search_path'));

create or replace function notifiws.drop_live_query(channel text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
begin
    perform pg_advisory_xact_lock(1852797033, 5);
    delete from notifiws.live_query_entry e where e.channel = channel;
    if not found then
        raise exception 'channel % carries no live query', coalesce(quote_literal(channel), 'null')
            using errcode = 'undefined_object', hint = 'notifiws.live_queries lists those that are';
    end if;
    perform notifiws.settle_touches('{}');
    perform pg_notify('notifiws_config', '');
end
$$;

-- A live query's channel is its own: nothing is watched or adopted onto it.
create or replace function notifiws.channel_is_free() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from notifiws.live_query_entry e where e.channel = new.channel) then
        raise exception 'channel % carries a live query', quote_literal(new.channel)
            using errcode = 'object_in_use', hint = 'choose another channel, or drop it with notifiws.drop_live_query first';
    end if;
    return new;
end
$$;

create or replace trigger channel_is_free before insert or update of channel on notifiws.watch_entry
    for each row execute function notifiws.channel_is_free();
create or replace trigger channel_is_free before insert or update of channel on notifiws.adopted
    for each row execute function notifiws.channel_is_free();

drop view if exists notifiws.live_queries;

-- What is declared, how it goes, and what keeps it from hearing of changes.
create view notifiws.live_queries as
select e.channel, e.query, t.depends_on, e.throttle, e.every, e.role, e.search_path, s.runs, s.errors, s.last_run,
       make_interval(secs => s.seconds) as duration, s.last_change, s.last_error,
       case when t.gone is not null then 'a table that it depends on is gone: ' || t.gone
            when t.deaf is not null then 'triggers are missing or disabled on ' || t.deaf || ': declare it again' end as problem,
       e.created_at
from notifiws.live_query_entry e
join notifiws.live_query_state s using (channel)
cross join lateral (
    select coalesce(array_agg(coalesce(m.root::regclass::text, q.source) order by p.place) filter (where q.id is not null), '{}') as depends_on,
           string_agg(q.source, ', ') filter (where m.root is null) as gone,
           string_agg(m.root::regclass::text, ', ') filter (where m.root is not null and exists (
               select from unnest(notifiws.family(m.root)) f
               where not exists (select from pg_trigger g where g.tgrelid = f and g.tgenabled in ('O', 'A')
                                 and g.tgfoid = to_regprocedure('notifiws.touch_' || q.id || '()')))) as deaf
    from unnest(e.tables) with ordinality as p (id, place)
    join notifiws.live_query_table q using (id)
    cross join lateral (select notifiws.touched_table(q)) m (root)
) t;
