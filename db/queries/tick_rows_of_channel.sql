-- One channel's events of a tick, by id. $1 s1 text, $2 s2 text, $3 after id bigint, $4 channel, $5 limit int.
-- → as tick_rows_wide
select o.id, o.tx::text as tx, o.channel, o.op, o.source, o.key, o.new, o.old, o.payload, o.is_json, o.at
from notifiws.tx_ranges($1::text::pg_snapshot, $2::text::pg_snapshot) r
cross join lateral (
    select o.id, o.tx, o.channel, o.op, o.source, o.key, o.new, o.old, o.payload, o.is_json, o.at
    from notifiws.outbox o where o.tx >= r.lo and o.tx < r.hi and o.id > $3 and o.channel = $4 offset 0
) o
order by o.id
limit $5
