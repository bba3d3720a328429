-- The oldest tick that can still be read whole (the one before it is kept too). → number bigint, at timestamptz
select t.number, t.at
from notifiws.tick t
where exists (select from notifiws.tick b where b.number = t.number - 1)
order by t.number
limit 1
