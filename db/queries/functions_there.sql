-- The functions as they are, to be told from those that are applied anew. → one text[]
select coalesce(array_agg(p.oid || ' ' || p.ctid), '{}')
from pg_catalog.pg_proc p
where p.pronamespace = 'notifiws'::regnamespace
