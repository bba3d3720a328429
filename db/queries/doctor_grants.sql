-- What others than its owner may do with the log's relations: everybody (role null), or a role that may change them.
-- → name text, role text, privilege text
select c.oid::regclass::text as name, r.rolname::text as role, string_agg(a.privilege_type, ', ' order by a.privilege_type) as privilege
from pg_class c
cross join lateral aclexplode(c.relacl) a
left join pg_roles r on r.oid = a.grantee
where c.relnamespace = to_regnamespace('notifiws')
  and (a.grantee = 0 or (a.grantee <> c.relowner and a.privilege_type <> 'SELECT'))
group by c.oid, r.rolname
order by 1, 2 nulls first
