-- Live queries whose last run failed. → channel text, error text, errors bigint
select e.channel, s.last_error as error, s.errors
from notifiws.live_query_entry e
join notifiws.live_query_state s on s.channel = e.channel and s.version = e.version
where s.last_error is not null
order by 1
