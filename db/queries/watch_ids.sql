-- → id int
select id from notifiws.watch_entry order by id
