-- A tick's events, by id, for a cursor in the same REPEATABLE READ transaction as tick_rows_narrow.
-- $1 s1 text, $2 s2 text, $3 after id bigint (0: all).
-- → id bigint, tx text, channel, op, source, key, new, old, payload (texts), is_json boolean, at timestamptz
select o.id, o.tx::text as tx, o.channel, o.op, o.source, o.key, o.new, o.old, o.payload, o.is_json, o.at
from notifiws.tx_ranges($1::text::pg_snapshot, $2::text::pg_snapshot) r
cross join lateral (
    select o.id, o.tx, o.channel, o.op, o.source, o.key, o.new, o.old, o.payload, o.is_json, o.at
    from notifiws.outbox o where o.tx >= r.lo and o.tx < r.hi and o.id > $3 offset 0
) o
order by o.id
