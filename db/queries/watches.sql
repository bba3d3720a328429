-- → channel, table, events text[], columns text[], condition, snapshot, always, in_force boolean, problem, created_at, mode
select * from notifiws.watches order by "table", channel
