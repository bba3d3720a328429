-- Settings that sessions of a role, or of this database, begin with. → role text (null: all), database text (null: all),
-- name text, value text
select r.rolname::text as role, d.datname::text as database, split_part(c, '=', 1) as name,
       substr(c, strpos(c, '=') + 1) as value
from pg_db_role_setting s
cross join lateral unnest(s.setconfig) c
left join pg_roles r on r.oid = s.setrole
left join pg_database d on d.oid = s.setdatabase
where s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
order by 1 nulls first, 2 nulls first, 3
