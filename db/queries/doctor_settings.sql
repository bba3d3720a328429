-- Settings as a new session of this role in this database has them, times in ms. → name text, setting text
select name::text, reset_val as setting
from pg_settings
where name in ('fsync', 'full_page_writes', 'synchronous_commit', 'max_prepared_transactions', 'idle_session_timeout',
               'transaction_timeout', 'max_connections', 'session_replication_role')
