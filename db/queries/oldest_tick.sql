-- The oldest tick that can still be read whole. Ask again after reading, outside the reader's snapshot: retention may
-- have truncated meanwhile. → number bigint
select horizon + 1 as number from notifiws.meta
