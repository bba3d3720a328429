"""notifiws.emit: in the caller's transaction, for members of its role, up to a limit that none of them can lift."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from db.migrate import check_schema, migrate
from tests.conftest import Database, _admin
from tests.integration.db.log import Log


@pytest.fixture
async def emitter(log: Log) -> AsyncIterator[asyncpg.Connection]:
    """A session of an application's role, which is a member of notifiws_emitter and may create objects of its own."""
    admin = await log.database.connect(superuser=True)
    await log.pg.execute("grant notifiws_emitter to writer")
    await admin.execute(f"grant create, temporary on database {log.database.name} to writer")
    yield await log.session("writer")
    await log.pg.execute("revoke notifiws_emitter from writer")  # roles outlive the database


async def payloads(log: Log) -> list[str]:
    return [row["payload"] for row in await log.cut()]


async def test_it_is_part_of_the_callers_transaction(log: Log, emitter: asyncpg.Connection) -> None:
    await emitter.execute("begin; select notifiws.emit('a', '\"rolled back\"'); rollback")
    await emitter.execute("""
        begin; select notifiws.emit('a', '1'); savepoint s; select notifiws.emit('a', '2'); rollback to s;
        select notifiws.emit('b', '{"c":3.00,  "a":null}'); commit
    """)
    assert await payloads(log) == ["1", '{"a": null, "c": 3.00}']


@pytest.mark.parametrize("most", [8_000_000, 11])
async def test_the_limit_counts_the_bytes_of_the_text(log: Log, emitter: asyncpg.Connection, most: int) -> None:
    if most != 8_000_000:
        await log.query("limit_emit", most)
    fits = f'"{"ñ" * ((most - 2) // 2)}{"x" * (most % 2)}"'
    assert len(fits.encode()) == most
    await emitter.execute("select notifiws.emit('a', $1::text::jsonb)", fits)
    with pytest.raises(
        asyncpg.ProgramLimitExceededError, match=f"{most + 1} bytes, and emit takes {most} at most"
    ) as error:
        await emitter.execute("select notifiws.emit('a', $1::text::jsonb)", '"x' + fits[1:])
    assert "NOTIFIWS_EMIT_BYTES" in str(error.value.hint)
    assert await payloads(log) == [fits]


async def test_no_emitter_lifts_the_limit(log: Log, emitter: asyncpg.Connection) -> None:
    await log.query("limit_emit", 3)
    await emitter.execute("""
        create schema own; create table own.meta (emit_bytes) as select 1000000;
        create temporary table meta (emit_bytes) as select 1000000;
        create function own.octet_length(text) returns int language sql as 'select 1';
        set notifiws.emit_bytes = 1000000; set search_path = own, pg_temp, pg_catalog; set role notifiws_emitter
    """)
    for denied in (
        "update notifiws.meta set emit_bytes = 1000000",
        "select emit_bytes from notifiws.meta",
        "insert into notifiws.outbox (slot, channel, op, bytes, at) values (0, 'a', 'emit', 1, now())",
        "set role writer; alter function notifiws.emit(text, jsonb) set notifiws.emit_bytes = 5",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await emitter.execute(denied)
    with pytest.raises(asyncpg.ProgramLimitExceededError):
        await emitter.execute("select notifiws.emit('a', '1234')")
    await emitter.execute("select notifiws.emit('a', '123')")
    assert await payloads(log) == ["123"]


async def test_its_role_may_do_that_and_see_whether_the_schema_fits(log: Log, emitter: asyncpg.Connection) -> None:
    await check_schema(emitter)
    await log.pg.execute("revoke notifiws_emitter from writer")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await emitter.execute("select notifiws.emit('a', '1')")


@pytest.mark.parametrize("rights", ["createrole", "nocreaterole"])
async def test_another_owners_database_in_the_same_cluster(log: Log, rights: str) -> None:
    """Roles belong to the cluster: who made them first is of no account, and the second needs not even CREATEROLE."""
    server = log.database.server
    assert await log.pg.fetchval("select count(*) from pg_roles where rolname = 'notifiws_emitter'") == 1
    for statement in (f"create role second login {rights} password 'second'", "create database second owner second"):
        await _admin(server, statement)
    second = Database(server, "second")
    try:
        url = server.url_of("second").split("@")[1]
        owner = await asyncpg.connect(f"postgresql://second:second@{url}")
        await migrate(owner)
        await migrate(owner)
        await owner.execute(
            "create table t (id int primary key); select notifiws.watch('t', 'a'); insert into t values (1)"
        )
        # Not to be granted the role by who did not make it (since Postgres 16), an application is granted what it has.
        await owner.execute("grant usage on schema notifiws to writer")
        await owner.execute("grant execute on function notifiws.emit(text, jsonb) to writer")
        await owner.close()
        writer = await asyncpg.connect(f"postgresql://writer:writer@{url}")
        await writer.execute("select notifiws.emit('a', '1')")
        await writer.close()
    finally:
        await second.close()
        for statement in ("drop database second with (force)", "drop role second"):
            await _admin(server, statement)
