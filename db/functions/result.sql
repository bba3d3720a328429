-- Running live queries, for the leader of the listener: one transaction computes, another publishes.

-- Run a query, as it was declared: role and search_path hold to the end of the transaction, which the caller makes
-- READ ONLY. No row: it was replaced or dropped. `result`, the JSON array of its rows, is null when its digest is the
-- known one: nothing changed. Raises what the query raises, and when the result is larger than `most` bytes.
create or replace function notifiws.run_live_query(channel text, version bigint, known text, most integer)
returns table (result text, digest text, at timestamptz)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    entry notifiws.live_query_entry;
    me name := current_user;
    computed text;
begin
    select * into entry from notifiws.live_query_entry e where e.channel = channel and e.version = version;
    if not found then
        return;
    end if;
    if entry.role <> me then
        begin
            perform set_config('role', entry.role, true);
        exception when others then
            raise exception 'the listener, as %, may not run it as %: %', me, entry.role, sqlerrm
                using errcode = 'insufficient_privilege',
                      hint = format('grant %I to %I, or declare the live query as %I', entry.role, me, me);
        end;
    end if;
    -- An object takes two bytes at least, so more rows than these are too many in any case.
    computed := format($sql$
        select pg_catalog.concat('[', pg_catalog.string_agg(pg_catalog.row_to_json(q.*)::text, ','), ']')
        from (select * from (%s
        ) q limit %s) q$sql$, entry.query, most / 2 + 1);
    perform set_config('search_path', entry.search_path, true);
    execute computed into result;
    perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    if octet_length(result) > most then
        raise exception 'the result has more than % bytes', most
            using errcode = 'program_limit_exceeded',
                  hint = 'return fewer rows or columns (LIMIT), or raise NOTIFIWS_LIVE_QUERY_BYTES';
    end if;
    digest := encode(sha256(convert_to(result, 'UTF8')), 'hex');
    if digest = known then
        result := null;
    end if;
    at := transaction_timestamp();
    return next;
end
$$;

-- From now on only the leader with this term publishes; a former one's results, however late, are refused. Returns what
-- there is to run. A later leader's claim stands.
create or replace function notifiws.claim_live_queries(term bigint)
returns table (channel text, version bigint, tables integer[], throttle double precision, every double precision, digest text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    update notifiws.live_query_state s set term = claim_live_queries.term where s.term < claim_live_queries.term;
    return query
        select e.channel, e.version, e.tables, extract(epoch from e.throttle)::float8, extract(epoch from e.every)::float8, s.digest
        from notifiws.live_query_entry e join notifiws.live_query_state s using (channel)
        order by e.channel;
end
$$;

-- Log a result as the channel's newest event. False, and nothing: replaced, dropped, or another leader's by now.
-- `runs` counts those since the last report. The caller wakes the relay.
create or replace function notifiws.publish_result(channel text, version bigint, term bigint, result text, digest text,
                                                   runs integer, at timestamptz, seconds double precision) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
begin
    update notifiws.live_query_state s
    set digest = digest, last_change = clock_timestamp(), runs = s.runs + runs, last_run = at, seconds = seconds, last_error = null
    where s.channel = channel and s.version = version and s.term = term;
    if not found then
        return false;
    end if;
    insert into notifiws.outbox (slot, channel, op, payload, bytes, at)
    values (notifiws.slot(), channel, 'result', result, octet_length(result), clock_timestamp());
    return true;
end
$$;

-- How runs went that published nothing. `failure` null: well.
create or replace function notifiws.report_runs(channel text, version bigint, term bigint, runs integer, at timestamptz,
                                                seconds double precision, failure text) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
    update notifiws.live_query_state s
    set runs = s.runs + report_runs.runs, errors = s.errors + (failure is not null)::integer,
        last_run = report_runs.at, seconds = report_runs.seconds, last_error = failure
    where s.channel = report_runs.channel and s.version = report_runs.version and s.term = report_runs.term
$$;
