-- The sizes of a tick's events, by id, for a cursor: how many rows of tick_rows_wide fit the next page.
-- $1 s1 text, $2 s2 text, $3 after id bigint (0: all). → id bigint, bytes int
select o.id, o.bytes
from notifiws.tx_ranges($1::text::pg_snapshot, $2::text::pg_snapshot) r
cross join lateral (
    select o.id, o.bytes from notifiws.outbox o where o.tx >= r.lo and o.tx < r.hi and o.id > $3 offset 0
) o
order by o.id
