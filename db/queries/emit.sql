-- $1 channel, $2 payload, JSON text
select notifiws.emit($1, $2::text::jsonb)
