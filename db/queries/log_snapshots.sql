-- The cuts from one tick to another, both included. $1 first number bigint, $2 last number bigint, by number.
-- → number bigint, at timestamptz, snapshot text
select number, at, snapshot::text as snapshot from notifiws.tick where number between $1 and $2 order by number
