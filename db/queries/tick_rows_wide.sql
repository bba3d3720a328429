-- A tick's events, by id, for a cursor in the same REPEATABLE READ transaction as tick_rows_narrow.
-- $1 s1 text, $2 s2 text, $3 after id bigint (0: all), $4 bytes: of larger rows new, old and payload are not read.
-- → id bigint, tx text, channel, op, source, key, new, old, payload (texts), is_json boolean, at timestamptz, left_out int (bytes of such a row, else 0)
select o.id, o.tx::text as tx, o.channel, o.op, o.source, o.key, case when o.bytes <= $4::bigint then o.new end as new,
       case when o.bytes <= $4 then o.old end as old, case when o.bytes <= $4 then o.payload end as payload, o.is_json, o.at,
       case when o.bytes <= $4 then 0 else o.bytes end as left_out
from notifiws.tx_ranges($1::text::pg_snapshot, $2::text::pg_snapshot) r
cross join lateral (
    select o.id, o.tx, o.channel, o.op, o.source, o.key, o.new, o.old, o.payload, o.is_json, o.at, o.bytes
    from notifiws.outbox o where o.tx >= r.lo and o.tx < r.hi and o.id > $3 offset 0
) o
order by o.id
