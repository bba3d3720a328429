-- Wait for whoever may still be committing the change with stamp $1, and keep others waiting until this transaction ends.
select pg_advisory_xact_lock($1)
