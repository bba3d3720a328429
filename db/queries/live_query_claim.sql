-- The leader's live queries, and its claim to publish them. $1 term bigint.
-- → channel, version bigint, tables int[], throttle float8 (seconds), every float8 (seconds, or null), digest (or null)
select * from notifiws.claim_live_queries($1)
