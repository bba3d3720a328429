-- The last events of one channel between two snapshots of one tick, newest first.
-- $1 s1 text, $2 s2 text, $3 channel, $4 before id bigint, $5 limit int. → id bigint, tx text, bytes int
select o.id, o.tx::text as tx, o.bytes
from notifiws.tx_ranges($1::text::pg_snapshot, $2::text::pg_snapshot) r
cross join lateral (
    select o.id, o.tx, o.bytes from notifiws.outbox o
    where o.tx >= r.lo and o.tx < r.hi and o.id < $4 and o.channel = $3 offset 0
) o
order by o.id desc
limit $5
