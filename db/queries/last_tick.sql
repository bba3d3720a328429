-- → number bigint, snapshot text, at timestamptz
select number, snapshot::text as snapshot, at from notifiws.tick order by number desc limit 1
