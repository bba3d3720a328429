-- Prepared transactions of this database. → gid text, role text, seconds float8
select gid, owner::text as role, extract(epoch from clock_timestamp() - prepared)::float8 as seconds
from pg_prepared_xacts
where database = current_database()
order by prepared
limit 20
