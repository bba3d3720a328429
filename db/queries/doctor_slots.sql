-- Replication slots that nobody reads. → name text, kind text, database text (null: physical), wal_status text,
-- bytes bigint of WAL that they keep
select slot_name::text as name, slot_type as kind, database::text, wal_status,
       coalesce(pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end,
                                restart_lsn), 0)::bigint as bytes
from pg_replication_slots
where not active and not temporary
order by slot_name
limit 20
