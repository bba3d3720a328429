-- Who may use schema notifiws: its owner everything, members of notifiws_emitter one function, members of notifiws_reader
-- what a node needs to read old positions from the log, others nothing. Writers of
-- watched tables need no grant, since a trigger's function is not looked up by them. Roles belong to the whole cluster, so
-- another database, or another migrate at this moment, may have made this one.

do $$
begin
    if not exists (select from pg_roles where rolname = 'notifiws_emitter') then
        create role notifiws_emitter nologin;
    end if;
exception when duplicate_object or unique_violation then
    null;
end
$$;

revoke all on schema notifiws from public;
revoke all on all tables in schema notifiws from public;
revoke all on all functions in schema notifiws from public;
grant usage on schema notifiws to notifiws_emitter;
grant execute on function notifiws.emit(text, jsonb) to notifiws_emitter;
-- `notifiws emit` looks first whether the schema fits its release.
grant select (schema_version, compatible_from) on notifiws.meta to notifiws_emitter;

do $$
begin
    if not exists (select from pg_roles where rolname = 'notifiws_reader') then
        create role notifiws_reader nologin;
    end if;
exception when duplicate_object or unique_violation then
    null;
end
$$;

grant usage on schema notifiws to notifiws_reader;
grant select on notifiws.meta, notifiws.tick, notifiws.outbox to notifiws_reader;
grant execute on function notifiws.tx_ranges(pg_snapshot, pg_snapshot) to notifiws_reader;
