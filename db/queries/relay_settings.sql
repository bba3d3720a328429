-- For each of the relay's sessions that reads the log: by index and with a generic plan, and a tick is durable before
-- anything of it is published, whatever the database's defaults are.
select set_config('enable_seqscan', 'off', false), set_config('enable_bitmapscan', 'off', false),
       set_config('jit', 'off', false), set_config('synchronous_commit', 'on', false),
       set_config('work_mem', '16MB', false)
