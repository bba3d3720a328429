"""Any login role can take our advisory locks. It is named within 10 s, with what ends it; afterwards we go on."""

import asyncio
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from notifiws.stack.valkey import ValkeyServer
from tests.conftest import Database
from tests.integration.listener.conftest import Ear, ListenerProcess, NewListener, Streams, eventually


@pytest.fixture
async def stranger(database: Database) -> asyncpg.Connection:
    """A session of a role that has been granted nothing, which pretends to be a relay."""
    admin = await database.connect(superuser=True)
    await admin.execute("drop role if exists fremd; create role fremd login password 'fremd'")
    parts = urlsplit(database.url)
    url = urlunsplit(parts._replace(netloc=f"fremd:fremd@{parts.hostname}:{parts.port}"))
    connection = await asyncpg.connect(url, server_settings={"application_name": "notifiws relay"})
    database.connections.append(connection)
    return connection


async def warned(subject: ListenerProcess, code: str) -> str:
    """The message of that warning, empty when there is none."""
    warnings = (await subject.readyz()).get("warnings", [])
    return next((warning["message"] for warning in warnings if warning["code"] == code), "")


async def end(database: Database, pid: int) -> None:
    """As the message says."""
    admin = await database.connect(superuser=True)
    await admin.execute("select pg_terminate_backend($1)", pid)


@pytest.mark.parametrize("whose", ["a stranger's", "the owner's"])
async def test_the_leader_lock(
    whose: str,
    pg: asyncpg.Connection,
    stranger: asyncpg.Connection,
    database: Database,
    new_listener: NewListener,
    streams: Streams,
) -> None:
    holder = stranger if whose == "a stranger's" else await database.connect()
    assert await holder.fetchval("select pg_try_advisory_lock(1852797033, 1)")
    pid = holder.get_server_pid()
    subject = new_listener().start()
    message = await subject.until_reason("locked", 10)
    role = "fremd" if whose == "a stranger's" else "notifiws_owner"
    for word in (f"session {pid}", f"role {role}", f"pg_terminate_backend({pid})", "leader lock"):
        assert word in message
    assert await subject.metric("foreign_locks") == 1
    await pg.execute("insert into ventas values (1, 0, '')")
    await end(database, pid)
    await streams.until_exact(pg, "ventas", seconds=10)
    await subject.until(ready=True, role="leader")


async def test_the_doorbell_s_lock(
    pg: asyncpg.Connection, stranger: asyncpg.Connection, listener: ListenerProcess, valkey: ValkeyServer
) -> None:
    async def taken() -> bool:
        return bool(await stranger.fetchval("select pg_try_advisory_lock(1852797033, 2)"))

    async with Ear(valkey.url, "ventas") as ear:
        number = 0

        async def taken_while_awake() -> bool:
            nonlocal number
            number += 1
            await pg.execute("insert into ventas values ($1, 0, '')", number)
            return await taken()

        await eventually(taken_while_awake)

        async def named() -> bool:
            return f"session {stranger.get_server_pid()} (role fremd" in await warned(listener, "doorbell")

        await eventually(named, 10)
        assert (await listener.readyz())["ready"], "it costs, and nothing is late"
        await pg.execute("insert into ventas values (1000000, 0, '')")
        await ear.until(number + 1, seconds=2)
    await stranger.close()

    async def over() -> bool:
        return not await warned(listener, "doorbell")

    await eventually(over, 10)


async def test_the_cut_s_lock(
    pg: asyncpg.Connection,
    stranger: asyncpg.Connection,
    listener: ListenerProcess,
    database: Database,
    streams: Streams,
) -> None:
    async def taken() -> bool:
        return bool(await stranger.fetchval("select pg_try_advisory_lock(1852797033, 4)"))

    await eventually(taken)
    await pg.execute("insert into ventas values (1, 0, '')")
    assert f"pg_terminate_backend({stranger.get_server_pid()})" in await listener.until_reason("locked", 10)
    await end(database, stranger.get_server_pid())
    await streams.until_exact(pg, "ventas", seconds=10)
    await listener.until(ready=True)


async def test_standbys_and_leaders_are_no_strangers(pg: asyncpg.Connection, new_listener: NewListener) -> None:
    listeners = [new_listener().start() for _ in range(2)]
    for each in listeners:
        await each.until(ready=True)
    await asyncio.sleep(2.5)  # a look
    for each in listeners:
        found = await each.readyz()
        assert found["ready"] and "warnings" not in found
        assert await each.metric("foreign_locks") == 0
