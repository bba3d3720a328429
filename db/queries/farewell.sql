-- The leader leaves: standbys try the lock at once.
select pg_notify('notifiws_farewell', '')
