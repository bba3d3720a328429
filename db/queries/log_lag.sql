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
