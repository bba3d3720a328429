-- The public channels that something is declared to write to. → channel text
select channel from notifiws.watch_entry
union
select channel from notifiws.adopted
union
select channel from notifiws.live_query_entry
order by channel
