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
