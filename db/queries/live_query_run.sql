-- Run a live query, in a REPEATABLE READ READ ONLY transaction. $1 channel, $2 version bigint, $3 known digest (or null),
-- $4 most bytes int. → no row: replaced or dropped. Else result (null: its digest is the known one), digest, at
select * from notifiws.run_live_query($1, $2, $3, $4)
