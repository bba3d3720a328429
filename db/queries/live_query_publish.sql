-- Log a result. $1 channel, $2 version bigint, $3 term bigint, $4 result, $5 digest, $6 runs since the last report int,
-- $7 at timestamptz, $8 seconds float8. → boolean: whether it was still ours to publish
select notifiws.publish_result($1, $2, $3, $4, $5, $6, $7, $8)
