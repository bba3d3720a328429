-- → pg_channel text, channel text
select pg_channel, channel from notifiws.adopted order by pg_channel
