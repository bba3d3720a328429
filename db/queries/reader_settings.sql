-- For each of a node's sessions that read the log: by index and with a generic plan. A statement that the node has given
-- up must not go on. $1 statement_timeout text.
select set_config('enable_seqscan', 'off', false), set_config('enable_bitmapscan', 'off', false),
       set_config('enable_hashjoin', 'off', false), set_config('enable_mergejoin', 'off', false),
       set_config('jit', 'off', false), set_config('statement_timeout', $1, false)
