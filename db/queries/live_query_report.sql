-- Note runs that published nothing. $1 channel, $2 version bigint, $3 term bigint, $4 runs int, $5 at timestamptz,
-- $6 seconds float8, $7 failure (null: well)
select notifiws.report_runs($1, $2, $3, $4, $5, $6, $7)
