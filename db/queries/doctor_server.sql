-- The server and how we stand in it. → one row, see notifiws.doctor.facts.Server; at float8: seconds since 1970
select current_setting('server_version_num')::integer as version, current_setting('server_version') as release,
       d.datname::text as database, r.rolname::text as role, pg_get_userbyid(d.datdba)::text as owner,
       r.rolsuper as superuser, r.rolcreaterole or r.rolsuper as createrole,
       has_database_privilege(d.oid, 'create') as may_create, pg_is_in_recovery() as in_recovery,
       pg_encoding_to_char(d.encoding)::text as encoding, current_setting('notifiws.doorbell', true) as doorbell,
       pg_notification_queue_usage() as queue_usage,
       (select count(*)::integer from pg_stat_activity where backend_type = 'client backend') as connections,
       coalesce((select s.ssl from pg_stat_ssl s where s.pid = pg_backend_pid()), false) as tls,
       host(inet_server_addr()) as address, pg_has_role(r.oid, 'pg_read_all_stats', 'usage') as sees_sessions,
       extract(epoch from clock_timestamp())::float8 as at
from pg_database d, pg_roles r
where d.datname = current_database() and r.rolname = current_user
