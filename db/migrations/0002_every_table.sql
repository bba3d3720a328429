-- Capture for every table and writer, live queries, and the log's guard. Each section is one of them.
do $$ begin end $$;  -- so that the file is a statement while it has no section

-- Reading the log far back. Where the epoch began: while the horizon is still there, nothing of the epoch is gone, and
-- the origin of a channel is as readable as any position.
alter table notifiws.meta add column epoch_tick bigint not null default 0;
