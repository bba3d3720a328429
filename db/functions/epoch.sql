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
    set epoch = name, horizon = last_number + 1, epoch_tick = last_number + 1,
        system_identifier = (select s.system_identifier::text from pg_control_system() s);
    insert into notifiws.tick (number, slot, snapshot) values (last_number + 1, notifiws.slot(), pg_current_snapshot());
    return name;
end
$$;
