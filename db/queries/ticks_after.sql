-- The ticks beyond one, in order. $1 number bigint (exclusive), $2 limit int. → number, at, s1 text, s2 text
select t.number, t.at, b.snapshot::text as s1, t.snapshot::text as s2
from notifiws.tick t
join notifiws.tick b on b.number = t.number - 1
where t.number > $1
order by t.number
limit $2
