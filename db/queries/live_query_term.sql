-- A number for a new leader's term, above all former ones. → bigint
select nextval('notifiws.live_query_number')
