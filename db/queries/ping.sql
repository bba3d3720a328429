-- Whether the session answers; keeps it from its idle timeouts.
select 1
