-- $1 table text, $2 channel
select notifiws.unwatch($1::text::regclass, $2)
