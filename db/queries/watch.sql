-- $1 table text, $2 channel, $3 events text[], $4 columns text[] or null, $5 condition or null, $6 snapshot boolean,
-- $7 always boolean
select notifiws.watch($1::text::regclass, $2, $3, $4, $5, $6, $7)
