-- The readable ticks beyond one, in order. $1 number bigint (exclusive), $2 limit int. → number, at, s1 text, s2 text
-- A first one that is not one more says that those between are expired.
select t.number, t.at, b.snapshot::text as s1, t.snapshot::text as s2
from notifiws.tick t
join notifiws.tick b on b.number = t.number - 1
where t.number > $1 and t.number > (select horizon from notifiws.meta)
order by t.number
limit $2
