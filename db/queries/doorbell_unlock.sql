-- After waking: writers fall silent again. → boolean
select pg_advisory_unlock(1852797033, 2)
