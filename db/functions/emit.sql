-- Events that are no row change: emitted by hand, or adopted from plain NOTIFY channels.

-- A custom event, inside the caller's transaction. For members of notifiws_emitter. The limit is read from a table that
-- they cannot write, so that no SET of theirs lifts it.
create or replace function notifiws.emit(channel text, payload jsonb) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    body text := payload::text;
    most integer;
begin
    perform notifiws.check_channel(channel);
    if body is null then
        raise exception 'emit needs a payload'
            using errcode = 'null_value_not_allowed', hint = 'for a JSON null write ''null''::jsonb';
    end if;
    select m.emit_bytes into strict most from notifiws.meta m;
    if octet_length(body) > most then
        raise exception 'the payload for channel % has % bytes, and emit takes % at most', channel, octet_length(body), most
            using errcode = 'program_limit_exceeded',
                  hint = 'emit a key and let clients fetch the rest, or raise NOTIFIWS_EMIT_BYTES of the listener';
    end if;
    insert into notifiws.outbox (slot, channel, op, payload, bytes, at)
    values (notifiws.slot(), channel, 'emit', body, octet_length(body), clock_timestamp());
    perform notifiws.ring();
end
$$;

-- Relay a plain NOTIFY channel. Adopting it again changes its public name.
create or replace function notifiws.adopt(pg_channel text, channel text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    watched text;
begin
    perform notifiws.check_channel(channel);
    if coalesce(octet_length(pg_channel), 0) not between 1 and 63 then
        raise exception 'NOTIFY channel % is not one that NOTIFY allows', coalesce(quote_literal(pg_channel), 'null')
            using errcode = 'invalid_parameter_value', hint = '1 to 63 bytes';
    end if;
    if pg_channel in ('notifiws', 'notifiws_config', 'notifiws_probe', 'notifiws_farewell') then
        raise exception 'NOTIFY channel % is used by notifiws itself', quote_literal(pg_channel)
            using errcode = 'invalid_parameter_value', hint = 'adopt the channel that your own trigger notifies';
    end if;
    if exists (select from notifiws.live_query_entry q where q.channel = channel) then
        raise exception 'channel % carries the results of a live query', quote_literal(channel)
            using errcode = 'object_in_use', hint = 'adopt under a channel of its own: the newest event of that one is the result';
    end if;
    insert into notifiws.adopted as a (pg_channel, channel) values (pg_channel, channel)
    on conflict on constraint adopted_pkey do update set channel = excluded.channel;
    -- Not refused: who moves from one to the other has both for a while, and the NOTIFYs may be of something else.
    select string_agg(w.source, ', ' order by w.source) into watched from notifiws.watch_entry w where w.channel = channel;
    if watched is not null then
        raise warning 'channel % also carries the changes of %: what these NOTIFYs tell of them comes twice', quote_literal(channel), watched
            using hint = 'adopt under another channel, or unadopt again once clients read the watch';
    end if;
    perform pg_notify('notifiws_config', '');
end
$$;

create or replace function notifiws.unadopt(pg_channel text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
begin
    delete from notifiws.adopted a where a.pg_channel = pg_channel;
    if not found then
        raise exception 'NOTIFY channel % is not adopted', coalesce(quote_literal(pg_channel), 'null')
            using errcode = 'undefined_object', hint = 'notifiws.adopted lists those that are';
    end if;
    perform pg_notify('notifiws_config', '');
end
$$;

-- Whether a text is JSON. (IS JSON came with Postgres 16.)
create or replace function notifiws.is_json(body text) returns boolean
language plpgsql immutable strict
set search_path = pg_catalog, pg_temp
as $$
begin
    perform body::json;
    return true;
exception when others then
    return false;
end
$$;

-- Payloads of adopted channels, in the order they came, each under its public channel. Called by the relay, which is
-- awake, so no bell. Names that the relay took from notifiws.adopted are not checked again.
create or replace function notifiws.adopt_payloads(channels text[], payloads text[]) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
    insert into notifiws.outbox (slot, channel, op, payload, is_json, bytes, at)
    select notifiws.slot(), p.channel, 'notify', p.payload, notifiws.is_json(p.payload), octet_length(p.payload),
           clock_timestamp()
    from unnest(channels, payloads) with ordinality as p (channel, payload, place)
    order by p.place
$$;
