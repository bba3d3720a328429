-- One migrate at a time. Waits as long as lock_timeout.
select pg_advisory_xact_lock(1852797033, 3)
