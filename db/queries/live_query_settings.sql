-- For a session that runs live queries: values read as in events, a query that takes too long is ended, and so is the
-- transaction of a frozen process. A result needs to be no more durable than the tick that cuts it.
-- $1 statement_timeout, e.g. 5000ms.
select set_config('statement_timeout', $1, false), set_config('idle_in_transaction_session_timeout', '6s', false),
       set_config('synchronous_commit', 'off', false), set_config('timezone', 'UTC', false),
       set_config('intervalstyle', 'postgres', false), set_config('bytea_output', 'hex', false),
       set_config('extra_float_digits', '1', false), set_config('datestyle', 'ISO, MDY', false)
