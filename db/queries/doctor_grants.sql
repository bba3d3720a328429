-- What everybody may do with the log's relations. → name text, privilege text
select c.oid::regclass::text as name, string_agg(a.privilege_type, ', ' order by a.privilege_type) as privilege
from pg_class c
cross join lateral aclexplode(c.relacl) a
where c.relnamespace = to_regnamespace('notifiws') and a.grantee = 0
group by c.oid
order by 1
