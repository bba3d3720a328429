-- No watch, unwatch or refresh beside this transaction. Waits as long as lock_timeout.
select pg_advisory_xact_lock(1852797033, 5)
