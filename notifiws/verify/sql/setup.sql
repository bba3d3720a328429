-- verify's own schema: two watched tables, and an audit trail that an ordinary row trigger writes in the writer's
-- transaction. What is in it was committed; what is not, was not.
drop schema if exists notifiws_verify cascade;
create schema notifiws_verify;
create sequence notifiws_verify.row_id;
create sequence notifiws_verify.stamp;

create table notifiws_verify.alpha (
    id bigint primary key,
    version integer not null,
    stamp bigint not null,        -- another one for every change
    note text not null
);
create table notifiws_verify.beta (like notifiws_verify.alpha including all);

create table notifiws_verify.audit (
    number bigint generated always as identity primary key,
    tx xid8 not null default pg_current_xact_id(),
    statement timestamptz not null default statement_timestamp(),
    snapshot pg_snapshot not null default pg_current_snapshot(),
    channel text not null,
    op text not null,
    stamp bigint not null,
    row_id bigint,
    version integer,
    size integer not null
);
create index on notifiws_verify.audit (stamp);

-- Fires before the product's triggers (by its name, and row triggers come before statement triggers), so what its
-- snapshot sees was committed before the event was written. A changed key is a delete and an insert.
create function notifiws_verify.note_change() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' or tg_op = 'UPDATE' and old.id <> new.id then
        insert into notifiws_verify.audit (channel, op, stamp, row_id, version, size)
        values (tg_argv[0], 'delete', old.stamp, old.id, old.version, length(old.note));
    end if;
    if tg_op <> 'DELETE' then
        insert into notifiws_verify.audit (channel, op, stamp, row_id, version, size)
        values (tg_argv[0], case when tg_op = 'UPDATE' and old.id = new.id then 'update' else 'insert' end,
                new.stamp, new.id, new.version, length(new.note));
    end if;
    return null;
end
$$;

create trigger a_audit after insert or update or delete on notifiws_verify.alpha
    for each row execute function notifiws_verify.note_change('notifiws-verify.alpha');
create trigger a_audit after insert or update or delete on notifiws_verify.beta
    for each row execute function notifiws_verify.note_change('notifiws-verify.beta');

create function notifiws_verify.say(channel text, stamp bigint, note text) returns void language plpgsql as $$
begin
    insert into notifiws_verify.audit (channel, op, stamp, size) values (channel, 'emit', stamp, length(note));
    perform notifiws.emit(channel, jsonb_build_object('stamp', stamp, 'note', note));
end
$$;

select notifiws.watch('notifiws_verify.alpha', 'notifiws-verify.alpha');
select notifiws.watch('notifiws_verify.beta', 'notifiws-verify.beta');
