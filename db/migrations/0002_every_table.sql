-- Capture for every table and writer, live queries, and the log's guard. Each section is one of them.
do $$ begin end $$;  -- so that the file is a statement while it has no section

-- Reading the log far back. Where the epoch began: while the horizon is still there, nothing of the epoch is gone, and
-- the origin of a channel is as readable as any position.
alter table notifiws.meta add column epoch_tick bigint not null default 0;

-- Live queries. What was declared; which tables tell of their changes (by notifiws.touch_<id>()); and how the runs went,
-- apart from the declarations, since it is written again and again.
create sequence notifiws.live_query_number as bigint cache 1;

create table notifiws.live_query_entry (
    channel text primary key,
    version bigint not null,               -- of this declaration: a run of a former one is not published
    query text not null,
    role text not null,                    -- who declared it, and as whom it runs
    search_path text not null,             -- as it was then
    tables integer[] not null,             -- of live_query_table
    throttle interval not null,
    every interval,
    created_at timestamptz not null default now()
);

create table notifiws.live_query_table (
    id integer generated always as identity primary key,
    target oid not null,
    source text not null,                  -- the table's name when last seen, to find it in a restored dump
    members oid[] not null default '{}'    -- itself, and what belongs to it: partitions, inheriting tables
);

create table notifiws.live_query_state (
    channel text primary key references notifiws.live_query_entry on delete cascade,
    version bigint not null,
    term bigint not null default 0,        -- of the leader that may publish: a deposed one's results are refused
    digest text,                           -- of the last result that was published
    last_change timestamptz,
    runs bigint not null default 0,
    errors bigint not null default 0,
    last_run timestamptz,
    seconds double precision,              -- of the last run
    last_error text                        -- null: the last run went well
) with (fillfactor = 50);

-- Migrations in steps, and the limit of emit.
alter table notifiws.meta
    add column emit_bytes integer not null default 8000000,
    add column tables_version integer,
    add column captures_digest text;

-- The log's guard: past its bounds writers go on in the next slot early.
alter table notifiws.meta add column slot_shift integer not null default 0;

-- Capture of every table: how a watch's triggers fire, and which columns it means, whatever they are called now.
alter table notifiws.watch_entry
    add column mode text not null default 'statement',
    add column numbers smallint[],
    add column reads jsonb,
    add column stopped text;
update notifiws.watch_entry w
set numbers = array(
    select coalesce(a.attnum, 0) from unnest(w.columns) with ordinality as u (name, place)
    left join pg_catalog.pg_attribute a on a.attrelid = w.target and a.attname = u.name and not a.attisdropped
    order by u.place)
where w.columns is not null;

create table notifiws.watch_part (
    watch integer not null references notifiws.watch_entry on delete cascade,
    part oid not null,
    emptied boolean not null default false,
    primary key (watch, part)
);
