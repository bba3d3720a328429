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
