-- The ticks that cut the log, in order.
select number, snapshot::text from notifiws.tick order by number
