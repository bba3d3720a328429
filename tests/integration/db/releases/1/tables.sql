-- The first schema. Its rows: the epoch of a new history, and tick 0, before which nothing was.
create schema notifiws;

-- One row: which release made this schema, and which history it holds.
create table notifiws.meta (
    one boolean primary key default true check (one),
    schema_version integer not null,
    compatible_from integer not null,      -- the oldest release's schema_version that may still run on this schema
    epoch text not null,                   -- names one unbroken history; Redis keys and positions carry it
    system_identifier text not null,       -- of the cluster that wrote the log: another one means a restored dump
    horizon bigint not null default 0,     -- ticks up to this one can no longer be read whole, see notifiws.rotate
    slot_seconds integer not null default 14400, -- what notifiws.slot() was made with
    functions_digest text                  -- of the release that applied its functions last
);

create sequence notifiws.outbox_id as bigint cache 1;

-- The log. Written in the writer's own transaction, read by ticks, emptied slot by slot with TRUNCATE.
-- The one index serves the cut; each further one would be paid by every writer.
create table notifiws.outbox (
    id bigint not null default nextval('notifiws.outbox_id'),
    tx xid8 not null default pg_current_xact_id(),
    slot smallint not null,                -- notifiws.slot() when written: which partition
    channel text not null,
    op text not null,
    source text,                           -- the table, quoted as SQL reads it; null for emit, notify, result
    key text,                              -- JSON texts, null where absent
    new text,
    old text,
    payload text,
    is_json boolean not null default true, -- false: an adopted payload that is no JSON, verbatim in payload
    bytes integer not null,                -- octets of the texts: a page's size is known without reading them
    at timestamptz not null
) partition by list (slot);

create index outbox_tx_id on notifiws.outbox (tx, id);

-- A tick: a number, and the snapshot up to which the log has been cut. Slots as in the outbox.
create table notifiws.tick (
    number bigint not null,
    slot smallint not null,
    snapshot pg_snapshot not null,
    at timestamptz not null default clock_timestamp(),
    primary key (number, slot)
) partition by list (slot);

-- Insert-only and truncated whole: vacuum after inserts would only read what is thrown away tomorrow.
create table notifiws.outbox_0 partition of notifiws.outbox for values in (0)
    with (autovacuum_vacuum_insert_threshold = -1, toast.autovacuum_vacuum_insert_threshold = -1);
create table notifiws.outbox_1 partition of notifiws.outbox for values in (1)
    with (autovacuum_vacuum_insert_threshold = -1, toast.autovacuum_vacuum_insert_threshold = -1);
create table notifiws.outbox_2 partition of notifiws.outbox for values in (2)
    with (autovacuum_vacuum_insert_threshold = -1, toast.autovacuum_vacuum_insert_threshold = -1);
create table notifiws.outbox_3 partition of notifiws.outbox for values in (3)
    with (autovacuum_vacuum_insert_threshold = -1, toast.autovacuum_vacuum_insert_threshold = -1);
create table notifiws.outbox_4 partition of notifiws.outbox for values in (4)
    with (autovacuum_vacuum_insert_threshold = -1, toast.autovacuum_vacuum_insert_threshold = -1);
create table notifiws.outbox_5 partition of notifiws.outbox for values in (5)
    with (autovacuum_vacuum_insert_threshold = -1, toast.autovacuum_vacuum_insert_threshold = -1);
create table notifiws.outbox_6 partition of notifiws.outbox for values in (6)
    with (autovacuum_vacuum_insert_threshold = -1, toast.autovacuum_vacuum_insert_threshold = -1);
create table notifiws.outbox_7 partition of notifiws.outbox for values in (7)
    with (autovacuum_vacuum_insert_threshold = -1, toast.autovacuum_vacuum_insert_threshold = -1);

create table notifiws.tick_0 partition of notifiws.tick for values in (0) with (autovacuum_vacuum_insert_threshold = -1);
create table notifiws.tick_1 partition of notifiws.tick for values in (1) with (autovacuum_vacuum_insert_threshold = -1);
create table notifiws.tick_2 partition of notifiws.tick for values in (2) with (autovacuum_vacuum_insert_threshold = -1);
create table notifiws.tick_3 partition of notifiws.tick for values in (3) with (autovacuum_vacuum_insert_threshold = -1);
create table notifiws.tick_4 partition of notifiws.tick for values in (4) with (autovacuum_vacuum_insert_threshold = -1);
create table notifiws.tick_5 partition of notifiws.tick for values in (5) with (autovacuum_vacuum_insert_threshold = -1);
create table notifiws.tick_6 partition of notifiws.tick for values in (6) with (autovacuum_vacuum_insert_threshold = -1);
create table notifiws.tick_7 partition of notifiws.tick for values in (7) with (autovacuum_vacuum_insert_threshold = -1);

-- What is watched. Its triggers call notifiws.capture_<id>_<op>(), which are generated from this row.
create table notifiws.watch_entry (
    id integer generated always as identity primary key,
    target oid not null,
    source text not null,                  -- the table's name when last seen, to name it after it is gone
    channel text not null,
    events text[] not null,
    columns text[],                        -- null: all
    condition text,
    snapshot boolean not null,
    always boolean not null,
    shape text not null,                   -- what the generated function was made for, see notifiws.shape
    created_at timestamptz not null default now(),
    unique (target, channel)
);

-- A capture that had to give way to its writer. Shown by notifiws.watches until the table is watched again.
create table notifiws.incident (
    watch integer not null references notifiws.watch_entry on delete cascade,
    at timestamptz not null default clock_timestamp(),
    message text not null
);

-- Plain NOTIFY channels that are relayed.
create table notifiws.adopted (
    pg_channel text primary key,
    channel text not null
);

insert into notifiws.meta (schema_version, compatible_from, epoch, system_identifier)
select 1, 1, substr(md5(gen_random_uuid()::text), 1, 8), system_identifier::text from pg_control_system();

insert into notifiws.tick (number, slot, snapshot)
values (0, (extract(epoch from clock_timestamp())::bigint / 14400 % 8)::smallint, pg_current_snapshot());
