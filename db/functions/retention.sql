-- The log's end: slots are truncated whole, each when nothing in it is younger than the retention. Never a DELETE, so a
-- held snapshot bloats nothing; never a wait for a lock, so nobody queues behind it. What is missed now goes next time.

-- notifiws.slot() with slots of so many seconds, shifted by so many slots from where the time alone would put it.
create or replace function notifiws.make_slot(seconds integer, shift integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    execute format('create or replace function notifiws.slot() returns smallint language sql volatile parallel safe '
                   'return ((date_part(''epoch'', clock_timestamp())::bigint / %s + %s) %% 8)::smallint', seconds, shift);
    update notifiws.meta set slot_seconds = seconds, slot_shift = shift;
end
$$;

-- What the log takes on disk, its ticks, indexes and TOAST included.
create or replace function notifiws.log_bytes() returns bigint
language sql
set search_path = pg_catalog, pg_temp
as $$
    select sum(pg_total_relation_size(i.inhrelid))::bigint from pg_inherits i
    where i.inhparent in ('notifiws.outbox'::regclass, 'notifiws.tick'::regclass)
$$;

-- The newest tick that was cut before a moment; never the last one, which may not be published yet. Null: there is none.
-- By halves, since nothing but their numbers is indexed; numbers that are not there are older ones.
create or replace function notifiws.tick_before(moment timestamptz) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
    low bigint := (select horizon from notifiws.meta);
    high bigint := (select max(number) - 1 from notifiws.tick);
    middle bigint;
begin
    while low < high loop
        middle := (low + high + 1) / 2;
        if exists (select from notifiws.tick t where t.number = middle and t.at >= moment) then
            high := middle - 1;
        else
            low := middle;
        end if;
    end loop;
    return (select t.number from notifiws.tick t where t.number = low and low <= high and t.at < moment);
end
$$;

-- Truncate what holds nothing beyond a tick, as far as nobody is at it. Returns the partitions that were emptied.
-- `ticks_alone`: ticks may go although no events can; positions before them are lost with them.
create or replace function notifiws.empty_slots(edge bigint, ticks_alone boolean) returns text[]
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
    seen pg_snapshot := (select t.snapshot from notifiws.tick t where t.number = edge);
    slot integer;
    busy boolean;
    truncated text[] := '{}';
begin
    if seen is null then
        return truncated;
    end if;
    for slot in 0 .. 7 loop
        continue when slot = notifiws.slot();
        for attempt in 1 .. 2 loop  -- look, then lock and look again
            execute format(
                'select exists (select from notifiws.%1$I where tx >= pg_snapshot_xmax($1)) '
                '    or exists (select from notifiws.%1$I where tx = any (array(select pg_snapshot_xip($1)))) '
                '    or not exists (select from notifiws.%1$I)', 'outbox_' || slot) into busy using seen;
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
    end loop;
    -- Ticks up to the edge are not needed but for the edge itself, where the next one begins.
    for slot in 0 .. 7 loop
        continue when slot = notifiws.slot() or truncated = '{}' and not ticks_alone;
        execute format('select coalesce(max(number) >= $1, true) from notifiws.%I', 'tick_' || slot) into busy using edge;
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
        update notifiws.meta set horizon = edge where horizon < edge;
    end if;
    return truncated;
end
$$;

create or replace function notifiws.rotate(retention interval) returns text[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    seconds integer := greatest(14400, ceil(extract(epoch from retention) / 6))::integer;
    edge bigint;
begin
    -- Eight slots must hold more than the retention, or a slot would come round again before it is old.
    if seconds > (select slot_seconds from notifiws.meta) then
        perform notifiws.make_slot(seconds, (select slot_shift from notifiws.meta));
    end if;
    edge := notifiws.tick_before(clock_timestamp() - retention);
    return notifiws.empty_slots(edge, true);
end
$$;

-- The log has more than `most` bytes: keep less than the retention, as little less as helps. If that is not enough, it is
-- the slot that is being written: writers then go on in an empty one, so that the next call can empty this one.
-- What was not cut, and the last tick, always stay.
create or replace function notifiws.shorten(retention interval, most bigint)
returns table (kept interval, bytes bigint, emptied text[], moved boolean)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
    step interval := retention / 48;
    current smallint;
    empty integer;
    is_empty boolean;
begin
    kept := retention;
    emptied := '{}';
    moved := false;
    bytes := notifiws.log_bytes();
    while bytes > most and kept > '0' loop
        kept := case when kept > step then kept - step else '0' end;
        emptied := emptied || notifiws.empty_slots(notifiws.tick_before(clock_timestamp() - kept), false);
        bytes := notifiws.log_bytes();
    end loop;
    current := notifiws.slot();
    if bytes > most and pg_total_relation_size(('notifiws.outbox_' || current)::regclass) > most / 8 then
        for distance in 1 .. 7 loop  -- the one that is next in time, if it is empty
            empty := (current + distance) % 8;
            execute format('select not exists (select from notifiws.%I)', 'outbox_' || empty) into is_empty;
            if is_empty then
                perform notifiws.make_slot(m.slot_seconds, (m.slot_shift + distance) % 8) from notifiws.meta m;
                moved := true;
                exit;
            end if;
        end loop;
    end if;
    return next;
end
$$;

-- Applying the functions has made notifiws.slot() anew; the next rotate lengthens it again where the retention asks.
update notifiws.meta set slot_seconds = 14400, slot_shift = 0;
