-- query adopt
-- $1 NOTIFY channel, $2 public channel
select notifiws.adopt($1, $2)

-- query adopt_payloads
-- Log payloads of adopted channels. $1 public channels text[], $2 payloads text[], in the order they came.
select notifiws.adopt_payloads($1, $2)

-- query adopted
-- → pg_channel text, channel text
select pg_channel, channel from notifiws.adopted order by pg_channel

-- query backend_pid
-- Which server process answers: two sessions that share one, or one that changes it, sit behind a transaction pooler.
select pg_backend_pid()

-- query cut
-- Cut the log once, autocommit. $1 max_rows int, $2 max_bytes bigint.
-- → no row: nothing new. One row with more = true (id null): the tick is recorded and too big, page it by tick_rows_*.
-- Else the tick's events by id: tick bigint, tick_at timestamptz, snapshot text, more boolean, id bigint, tx text,
-- channel, op, source, key, new, old, payload (texts), is_json boolean, at timestamptz
select * from notifiws.cut($1, $2)

-- query declared_channels
-- The public channels that something is declared to write to. → channel text
select channel from notifiws.watch_entry
union
select channel from notifiws.adopted
order by channel

-- query doorbell_try_lock
-- Before sleeping: granted, every writer that stayed silent is over and visible, so read once more, then sleep;
-- writers ring while it is held. Refused: stay awake and poll. → boolean
select pg_try_advisory_lock(1852797033, 2)

-- query doorbell_unlock
-- After waking: writers fall silent again. → boolean
select pg_advisory_unlock(1852797033, 2)

-- query emit
-- $1 channel, $2 payload, JSON text
select notifiws.emit($1, $2::text::jsonb)

-- query farewell
-- The leader leaves: standbys try the lock at once.
select pg_notify('notifiws_farewell', '')

-- query forget
-- Unwatch a table that was dropped. $1 the name it had, $2 channel
select notifiws.forget($1, $2)

-- query functions_digest
-- Which functions the schema has. → one text
select functions_digest from notifiws.meta

-- query guard_settings
-- Against a frozen process: Postgres ends the session, and with it its locks. $1 timeout, e.g. 6s.
select set_config('idle_session_timeout', $1, false), set_config('idle_in_transaction_session_timeout', $1, false)

-- query last_tick
-- → number bigint, snapshot text, at timestamptz
select number, snapshot::text as snapshot, at from notifiws.tick order by number desc limit 1

-- query leader_try_lock
-- Try to become the leader: a session lock. → boolean
select pg_try_advisory_lock(1852797033, 1)

-- query leader_unlock
-- Give up leadership. → boolean (false: this session did not have it)
select pg_advisory_unlock(1852797033, 1)

-- query log_lag
-- How far the log is ahead of its last tick: age of an event that was committed and not cut.
-- → tick bigint, seconds double precision (0: nothing waits)
select t.number as tick,
       coalesce(extract(epoch from clock_timestamp() - (
           select o.at
           from notifiws.tx_ranges(t.snapshot, pg_current_snapshot()) r
           cross join lateral (select o.at from notifiws.outbox o where o.tx >= r.lo and o.tx < r.hi order by o.tx, o.id limit 1) o
           order by o.at
           limit 1)), 0)::float8 as seconds
from (select number, snapshot from notifiws.tick order by number desc limit 1) t

-- query meta
-- Which history this is, and whether it can be gone on with.
-- → schema_version int, compatible_from int, epoch text, system_identifier text, in_recovery boolean, broken text (null: whole)
select schema_version, compatible_from, epoch, system_identifier, pg_is_in_recovery() as in_recovery,
       notifiws.log_broken() as broken
from notifiws.meta

-- query migrate_lock
-- One migrate at a time. Waits as long as lock_timeout.
select pg_advisory_xact_lock(1852797033, 3)

-- query migrate_settings
-- For the migrating transaction alone. $1 lock timeout. Functions may name what a later file makes.
select set_config('lock_timeout', $1, true), set_config('check_function_bodies', 'off', true),
       set_config('client_min_messages', 'warning', true), set_config('search_path', 'pg_catalog, pg_temp', true)

-- query oldest_tick
-- The oldest tick that can still be read whole. Ask again after reading, outside the reader's snapshot: retention may
-- have truncated meanwhile. → number bigint
select horizon + 1 as number from notifiws.meta

-- query ping
-- Whether the session answers; keeps it from its idle timeouts.
select 1

-- query probe
-- The self-probe of a LISTEN connection. $1 nonce.
select pg_notify('notifiws_probe', $1)

-- query queue_usage
-- How full the NOTIFY queue is. → double precision, 0 to 1
select pg_notification_queue_usage()

-- query record_functions_digest
-- $1 digest
update notifiws.meta set functions_digest = $1

-- query record_version
-- $1 schema_version, $2 compatible_from
update notifiws.meta set schema_version = $1, compatible_from = $2

-- query refresh_watches
-- Generate anew the capture functions whose table changed its shape. Takes no lock on the table. → count
select notifiws.refresh_watches()

-- query regenerate_watches
-- Generate all capture functions anew with this release's generator. → count
select notifiws.refresh_watches(true)

-- query relay_settings
-- For each of the relay's sessions that reads the log: by index and with a generic plan, and a tick is durable before
-- anything of it is published, whatever the database's defaults are.
select set_config('enable_seqscan', 'off', false), set_config('enable_bitmapscan', 'off', false),
       set_config('jit', 'off', false), set_config('synchronous_commit', 'on', false),
       set_config('work_mem', '16MB', false)

-- query rotate
-- Truncate what is older than the retention. $1 interval. → text[], the partitions that were emptied
select notifiws.rotate($1)

-- query schema_exists
-- Whether schema notifiws has its meta table. Needs no right on it. → one boolean
select exists (select from pg_catalog.pg_class where relname = 'meta' and relnamespace = to_regnamespace('notifiws'))

-- query schema_versions
-- → schema_version int, compatible_from int
select schema_version, compatible_from from notifiws.meta

-- query start_epoch
-- Start a new epoch from the present snapshot on. Only for the leader. → its name
select notifiws.start_epoch()

-- query strangers
-- What of schema notifiws belongs to a role that ours has no reason to trust: whoever owns it chooses what code runs
-- when we touch it. Trusted: who may act as us (superusers too), the database's owner, and roles that we act as; a
-- superuser acts as everybody, which says nothing. → text, null: nothing
select case when count(*) > 0 then
           format('%s %I belongs to role %I', (array_agg(kind))[1], (array_agg(name))[1], (array_agg(pg_get_userbyid(owner)))[1])
           || case when count(*) > 1 then format(' (not the only one: %s more)', count(*) - 1) else '' end end
from (
    select kind, name, owner
    from (
        select 'schema', nspname::text, nspowner from pg_catalog.pg_namespace where nspname = 'notifiws'
        union all
        select case relkind when 'v' then 'view' when 'S' then 'sequence' else 'table' end, relname::text, relowner
        from pg_catalog.pg_class where relnamespace = to_regnamespace('notifiws') and relkind not in ('i', 'I', 't')
        union all
        select 'function', proname::text, proowner from pg_catalog.pg_proc where pronamespace = to_regnamespace('notifiws')
        union all
        select 'type', typname::text, typowner from pg_catalog.pg_type
        where typnamespace = to_regnamespace('notifiws') and typrelid = 0 and typcategory <> 'A'
    ) object (kind, name, owner)
    cross join (select oid, rolsuper from pg_catalog.pg_roles where rolname = current_user) me
    where not pg_has_role(owner, me.oid, 'usage')
      and owner <> (select datdba from pg_catalog.pg_database where datname = current_database())
      and (me.rolsuper or not pg_has_role(me.oid, owner, 'usage'))
    order by kind <> 'schema', kind, name
) strangers

-- query table_exists
-- $1 table text. → boolean
select to_regclass($1) is not null

-- query tick
-- One tick with the snapshot before it. $1 number bigint. → number, at, s1 text, s2 text; no row when it is expired
select t.number, t.at, b.snapshot::text as s1, t.snapshot::text as s2
from notifiws.tick t
join notifiws.tick b on b.number = t.number - 1
where t.number = $1 and t.number > (select horizon from notifiws.meta)

-- query tick_rows_narrow
-- The sizes of a tick's events, by id, for a cursor: how many rows of tick_rows_wide fit the next page.
-- $1 s1 text, $2 s2 text, $3 after id bigint (0: all). → id bigint, bytes int
select o.id, o.bytes
from notifiws.tx_ranges($1::text::pg_snapshot, $2::text::pg_snapshot) r
cross join lateral (
    select o.id, o.bytes from notifiws.outbox o where o.tx >= r.lo and o.tx < r.hi and o.id > $3 offset 0
) o
order by o.id

-- query tick_rows_of_channel
-- One channel's events of a tick, by id. $1 s1 text, $2 s2 text, $3 after id bigint, $4 channel, $5 limit int.
-- → as tick_rows_wide
select o.id, o.tx::text as tx, o.channel, o.op, o.source, o.key, o.new, o.old, o.payload, o.is_json, o.at
from notifiws.tx_ranges($1::text::pg_snapshot, $2::text::pg_snapshot) r
cross join lateral (
    select o.id, o.tx, o.channel, o.op, o.source, o.key, o.new, o.old, o.payload, o.is_json, o.at
    from notifiws.outbox o where o.tx >= r.lo and o.tx < r.hi and o.id > $3 and o.channel = $4 offset 0
) o
order by o.id
limit $5

-- query tick_rows_wide
-- A tick's events, by id, for a cursor in the same REPEATABLE READ transaction as tick_rows_narrow.
-- $1 s1 text, $2 s2 text, $3 after id bigint (0: all).
-- → id bigint, tx text, channel, op, source, key, new, old, payload (texts), is_json boolean, at timestamptz
select o.id, o.tx::text as tx, o.channel, o.op, o.source, o.key, o.new, o.old, o.payload, o.is_json, o.at
from notifiws.tx_ranges($1::text::pg_snapshot, $2::text::pg_snapshot) r
cross join lateral (
    select o.id, o.tx, o.channel, o.op, o.source, o.key, o.new, o.old, o.payload, o.is_json, o.at
    from notifiws.outbox o where o.tx >= r.lo and o.tx < r.hi and o.id > $3 offset 0
) o
order by o.id

-- query ticks_after
-- The readable ticks beyond one, in order. $1 number bigint (exclusive), $2 limit int. → number, at, s1 text, s2 text
-- A first one that is not one more says that those between are expired.
select t.number, t.at, b.snapshot::text as s1, t.snapshot::text as s2
from notifiws.tick t
join notifiws.tick b on b.number = t.number - 1
where t.number > $1 and t.number > (select horizon from notifiws.meta)
order by t.number
limit $2

-- query unadopt
-- $1 NOTIFY channel
select notifiws.unadopt($1)

-- query unwatch
-- $1 table text, $2 channel
select notifiws.unwatch($1::text::regclass, $2)

-- query watch
-- $1 table text, $2 channel, $3 events text[], $4 columns text[] or null, $5 condition or null, $6 snapshot boolean
select notifiws.watch($1::text::regclass, $2, $3, $4, $5, $6)

-- query watch_dry_run
-- What watch would refuse is refused here. $1 … $6 as watch. → the statement to run, text
select format('select notifiws.watch(%L, %L, events => %L%s%s)', $1::text::regclass, $2::text,
              notifiws.check_watch($1::text::regclass, $2, $3, $4, $5, false),
              ', columns => ' || quote_literal($4::text[]),
              case when not $6::boolean then ', snapshot => false' end)

-- query watches
-- → channel, table, events text[], columns text[], condition, snapshot, always, in_force boolean, problem, created_at
select * from notifiws.watches order by "table", channel
