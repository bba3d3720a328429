-- What the log takes on disk. → bigint
select notifiws.log_bytes()
