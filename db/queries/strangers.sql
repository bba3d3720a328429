-- What of schema notifiws belongs to a role that ours has no reason to trust: whoever owns it chooses what code runs
-- when we touch it. Trusted: who may act as us (superusers too), the database's owner, and roles that we act as; a
-- superuser acts as everybody, which says nothing. → text, null: nothing
select case when count(*) > 0 then
           format('%s %I belongs to role %I', (array_agg(kind))[1], (array_agg(name))[1], (array_agg(pg_get_userbyid(owner)))[1])
           || case when count(*) > 1 then format(' (not the only one: %s more)', count(*) - 1) else '' end end
from (
    select kind, name, owner
    from (
        select 'schema', nspname::text, nspowner from pg_catalog.pg_namespace where nspname = 'notifiws'
        union all
        select case relkind when 'v' then 'view' when 'S' then 'sequence' else 'table' end, relname::text, relowner
        from pg_catalog.pg_class where relnamespace = to_regnamespace('notifiws') and relkind not in ('i', 'I', 't')
        union all
        select 'function', proname::text, proowner from pg_catalog.pg_proc where pronamespace = to_regnamespace('notifiws')
        union all
        select 'type', typname::text, typowner from pg_catalog.pg_type
        where typnamespace = to_regnamespace('notifiws') and typrelid = 0 and typcategory <> 'A'
    ) object (kind, name, owner)
    cross join (select oid, rolsuper from pg_catalog.pg_roles where rolname = current_user) me
    where not pg_has_role(owner, me.oid, 'usage')
      and owner <> (select datdba from pg_catalog.pg_database where datname = current_database())
      and (me.rolsuper or not pg_has_role(me.oid, owner, 'usage'))
    order by kind <> 'schema', kind, name
) strangers
