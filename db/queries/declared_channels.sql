-- The public channels of watches and adopted NOTIFY channels; live queries are told apart. → channel text
select channel from notifiws.watch_entry
union
select channel from notifiws.adopted
order by channel
