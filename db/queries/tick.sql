-- One tick with the snapshot before it. $1 number bigint. → number, at, s1 text, s2 text; no row when it is expired
select t.number, t.at, b.snapshot::text as s1, t.snapshot::text as s2
from notifiws.tick t
join notifiws.tick b on b.number = t.number - 1
where t.number = $1 and t.number > (select horizon from notifiws.meta)
