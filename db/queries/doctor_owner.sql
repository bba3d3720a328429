-- Whose schema notifiws is. → owner text (null: there is none), is_owner boolean: we act as that role,
-- owner_superuser boolean
select pg_get_userbyid(n.nspowner)::text as owner, coalesce(pg_has_role(n.nspowner, 'usage'), true) as is_owner,
       coalesce((select r.rolsuper from pg_roles r where r.oid = n.nspowner), false) as owner_superuser
from (select 1) one
left join pg_namespace n on n.nspname = 'notifiws'
