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
