-- Cut the log once, autocommit. $1 max_rows int, $2 max_bytes bigint.
-- → no row: nothing new. One row with more = true (id null): the tick is recorded and too big, page it by tick_rows_*.
-- Else the tick's events by id: tick bigint, tick_at timestamptz, snapshot text, more boolean, id bigint, tx text,
-- channel, op, source, key, new, old, payload (texts), is_json boolean, at timestamptz
select * from notifiws.cut($1, $2)
