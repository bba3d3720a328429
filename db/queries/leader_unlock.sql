-- Give up leadership. → boolean (false: this session did not have it)
select pg_advisory_unlock(1852797033, 1)
