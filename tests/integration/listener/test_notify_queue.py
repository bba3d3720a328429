"""A NOTIFY queue that fills up: triggers fall silent at half, writers never fail, and the relay stays awake.

A queue of 512 kB, as only Postgres 17 and later allow: the usual 8 GB would have to be filled otherwise.
"""

import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from db.migrate import migrate
from notifiws.stack.postgres import PostgresServer
from notifiws.stack.valkey import ValkeyServer
from tests.conftest import Database, _new_database
from tests.integration.listener.conftest import DDL, Ear, NewListener, eventually

NEVER = 3600.0


@pytest.fixture(scope="module")
def small_queue(server_folder: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(server_folder / "queue", fsync=False, options={"max_notify_queue_pages": "64"})
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def database(small_queue: PostgresServer) -> AsyncIterator[Database]:
    async with _new_database(small_queue, "template0") as fresh:
        await migrate(await fresh.connect())
        yield fresh


async def usage(pg: asyncpg.Connection) -> float:
    found: float = await pg.fetchval("select pg_notification_queue_usage()")
    return found


async def stuff(pg: asyncpg.Connection, most: float) -> None:
    """Fill the queue to that part. Raises where it is full."""
    while await usage(pg) < most:
        await pg.execute("select pg_notify('stuff', repeat('x', 7900))")


async def test_half_full_and_full(
    pg: asyncpg.Connection, database: Database, new_listener: NewListener, valkey: ValkeyServer
) -> None:
    subject = new_listener().start(fallback=NEVER)
    await subject.until(ready=True, role="leader")
    idle = await database.connect()  # who listens and does not end its transaction keeps all in the queue
    await idle.execute("listen stuff")
    await idle.execute("begin")
    number = 0

    async def write(ear: Ear) -> None:
        nonlocal number
        number += 1
        sent = time.monotonic()
        await pg.execute("insert into ventas values ($1, 0, '')", number)
        assert await ear.until(number) - sent < 0.3

    async with Ear(valkey.url, "ventas") as ear:
        await write(ear)
        await stuff(pg, 0.55)

        async def noticed() -> bool:
            return await subject.metric("notify_queue_usage") > 0.5

        await eventually(noticed, 8)
        rings = await subject.metric("doorbell_rings_total")
        for _ in range(5):
            await write(ear)
        assert await subject.metric("doorbell_asleep") == 0
        with contextlib.suppress(asyncpg.PostgresError):
            await stuff(pg, 1.0)
        with pytest.raises(asyncpg.PostgresError, match="too many notifications"):
            while True:
                await pg.execute("select pg_notify('stuff', repeat('x', 7900))")
        for _ in range(5):
            await write(ear)
        assert await subject.metric("doorbell_rings_total") == rings
        assert "queue" in await subject.until_reason("deaf")
        await idle.execute("rollback")
        await subject.until(ready=True)
        await write(ear)


async def test_a_sleeping_relay_is_not_rung_past_half(database: Database) -> None:
    """Whoever holds the doorbell's lock, awake or frozen: past half the trigger is silent, and full it fails nobody."""
    pg = await database.connect()
    await pg.execute(DDL.format("ventas"))
    sleeper = await database.connect()
    rings: list[str] = []
    await sleeper.add_listener("notifiws", lambda *_: rings.append("ring"))
    assert await sleeper.fetchval("select pg_try_advisory_lock(1852797033, 2)")
    await pg.execute("insert into ventas values (1, 0, '')")
    await sleeper.fetchval("select 1")
    assert rings == ["ring"]
    idle = await database.connect()
    await idle.execute("listen stuff")
    await idle.execute("begin")
    await stuff(pg, 0.5)
    await pg.execute("insert into ventas values (2, 0, '')")
    with pytest.raises(asyncpg.PostgresError, match="too many notifications"):
        while True:
            await pg.execute("select pg_notify('stuff', repeat('x', 7900))")
    await pg.execute("insert into ventas values (3, 0, '')")
    await sleeper.fetchval("select 1")
    assert rings == ["ring"]
    assert await pg.fetchval("select count(*) from notifiws.outbox") == 3
