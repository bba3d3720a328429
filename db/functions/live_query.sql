-- Part of the contract, built later: refused, never ignored.

create or replace function notifiws.live_query(channel text, query text, depends_on regclass[],
    throttle interval default '250 ms', every interval default null) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform notifiws.unsupported('live queries are not built yet', 'watch the tables and compute the result in the client');
end
$$;

create or replace function notifiws.drop_live_query(channel text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform notifiws.unsupported('live queries are not built yet', 'there is none to drop');
end
$$;
