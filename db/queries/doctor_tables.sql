-- Watched tables. → table text, channel text, snapshot boolean, always boolean, unlogged boolean, applied boolean: a
-- subscription writes to it
select c.oid::regclass::text as table, w.channel, w.snapshot, w.always, c.relpersistence = 'u' as unlogged,
       exists (select from pg_subscription_rel s where s.srrelid = c.oid) as applied
from notifiws.watch_entry w
join pg_class c on c.oid = w.target
order by 1, 2
