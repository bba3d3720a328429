-- Against a frozen process: Postgres ends the session, and with it its locks. $1 timeout, e.g. 6s.
select set_config('idle_session_timeout', $1, false), set_config('idle_in_transaction_session_timeout', $1, false)
