-- Try to become the leader: a session lock. → boolean
select pg_try_advisory_lock(1852797033, 1)
