-- The ticks of which the events are kept and that were cut in the last $1 double precision seconds.
-- → first bigint (one beyond the last: none), horizon bigint, epoch_tick bigint
select greatest(m.horizon, coalesce((
           select t.number from notifiws.tick t
           where t.at < clock_timestamp() - make_interval(secs => $1) order by t.number desc limit 1), 0)) + 1 as first,
       m.horizon, m.epoch_tick
from notifiws.meta m
