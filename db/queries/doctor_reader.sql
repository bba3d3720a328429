-- Who the nodes' reader is. → role text, superuser boolean, is_owner boolean, system text: the cluster's identifier and the
-- database, lacks text[]: relations that it may not read
select current_user::text as role, r.rolsuper as superuser,
       coalesce(pg_has_role((select nspowner from pg_namespace where nspname = 'notifiws'), 'usage'), false) as is_owner,
       (select s.system_identifier || '/' || current_database() from pg_control_system() s) as system,
       array(select format('notifiws.%I', c.relname) from pg_class c
             where c.relnamespace = to_regnamespace('notifiws') and c.relname in ('meta', 'outbox', 'tick')
               and not (has_schema_privilege(c.relnamespace, 'usage') and has_table_privilege(c.oid, 'select'))
             order by c.relname) as lacks
from pg_roles r
where r.rolname = current_user
