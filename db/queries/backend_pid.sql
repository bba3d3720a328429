-- Which server process answers: two sessions that share one, or one that changes it, sit behind a transaction pooler.
select pg_backend_pid()
