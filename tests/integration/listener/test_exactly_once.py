"""Killed with SIGKILL while four writers write, the listener publishes every committed event exactly once, in order."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from notifiws.stack.valkey import ValkeyServer
from tests.conftest import Database
from tests.integration.listener.conftest import Ear, ListenerProcess, NewListener, Streams, eventually


async def write(connection: asyncpg.Connection, number: int, done: asyncio.Event) -> None:
    """Inserts, several updates of a row, rollbacks and savepoints, until `done`."""
    chance = random.Random(number)
    key = number * 1_000_000
    while not done.is_set():
        key += 1
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("insert into ventas values ($1, 0, 'ñ')", key)
        for step in range(chance.randrange(3)):
            await connection.execute("update ventas set n = $2 where id = $1", key, step + 1)
        if chance.random() < 0.2:
            savepoint = connection.transaction()
            await savepoint.start()
            await connection.execute("update ventas set n = -1 where id = $1", key)
            await savepoint.rollback()
        if chance.random() < 0.2:
            await transaction.rollback()
        else:
            await transaction.commit()
        await asyncio.sleep(0.002)


@asynccontextmanager
async def writers(database: Database) -> AsyncIterator[None]:
    """Four of them at work."""
    done = asyncio.Event()
    connections = [await database.connect() for _ in range(4)]
    writing = asyncio.gather(*(write(each, number, done) for number, each in enumerate(connections, 1)))
    try:
        yield
    finally:
        done.set()
        await writing


async def check_rows(streams: Streams) -> None:
    """Per row: insert first, then updates in the order of their values, nothing of a rolled-back savepoint."""
    last: dict[str, int] = {}
    for publication in await streams.publications("ventas"):
        for event in publication.events():
            new = event.payload
            assert new is not None
            key, n = bytes(new).split(b",")[:2]
            value = int(n.split(b":")[1])
            assert value == last.get(key.decode(), -1) + 1
            assert event.op == ("insert" if value == 0 else "update")
            last[key.decode()] = value


@pytest.mark.slow
async def test_killed_again_and_again_while_writing(
    database: Database, pg: asyncpg.Connection, new_listener: NewListener, streams: Streams, valkey: ValkeyServer
) -> None:
    subject = new_listener()
    chance = random.Random(5)
    async with Ear(valkey.url, "ventas") as ear:
        async with writers(database):
            for _ in range(6):
                subject.start()
                before = ear.events
                await ear.until(before + 50)
                await asyncio.sleep(chance.random() * 0.2)
                subject.kill()
            subject.start()
        await streams.until_exact(pg, "ventas")
        await check_rows(streams)
        heard = [publication.position for _, publication in ear.heard]
        assert heard == [publication.position for publication in await streams.publications("ventas")]


@pytest.mark.slow
async def test_redis_killed_and_back_with_its_file(
    database: Database, pg: asyncpg.Connection, listener: ListenerProcess, streams: Streams, valkey: ValkeyServer
) -> None:
    async with writers(database):
        for _ in range(3):
            before = await listener.metric("events_total")

            async def more(before: float = before) -> bool:
                return await listener.metric("events_total") > before + 50

            await eventually(more)
            valkey.kill()
            assert "Redis" in await listener.until_reason("redis")
            valkey.start()  # not in a thread: the kernel ends it with the thread that started it
            await listener.until(ready=True)
    await streams.until_exact(pg, "ventas")
    await check_rows(streams)
    assert await listener.metric("redis_lost_total") == 0
    assert await listener.metric("leaderships_total") == 1


@pytest.mark.parametrize("how", ["flush", "script flush"])
async def test_redis_emptied_under_way_goes_on_with_the_true_prev(
    how: str, pg: asyncpg.Connection, listener: ListenerProcess, streams: Streams, valkey: ValkeyServer
) -> None:
    async with Ear(valkey.url, "ventas") as ear:
        await pg.execute("insert into ventas values (1, 0, '')")
        await ear.until(1)
        await streams.redis.execute_command("FLUSHALL" if how == "flush" else "SCRIPT FLUSH")
        await pg.execute("insert into ventas values (2, 0, '')")
        await ear.until(2)
        first, second = (publication for _, publication in ear.heard)
        assert second.prev == first.position
        if how == "flush":
            assert await listener.metric("redis_lost_total") >= 1

            # What a wiped Redis must be told again.
            async def told() -> bool:
                return await streams.redis.exists("notifiws:epoch", "notifiws:channels") == 2

            await eventually(told)


@pytest.mark.parametrize(
    ("command", "undo", "word"),
    [
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), "replica"),
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"), "maxmemory"),
    ],
)
async def test_redis_refuses_for_a_while(
    command: tuple[str, ...],
    undo: tuple[str, ...],
    word: str,
    pg: asyncpg.Connection,
    listener: ListenerProcess,
    streams: Streams,
) -> None:
    await pg.execute("insert into ventas values (1, 0, '')")
    await streams.until_exact(pg, "ventas")
    await streams.redis.execute_command(*command)
    try:
        await pg.execute("insert into ventas values (2, 0, '')")
        assert word in await listener.until_reason("redis")
    finally:
        await streams.redis.execute_command(*undo)
    await streams.until_exact(pg, "ventas")
    await listener.until(ready=True)


async def test_an_open_transaction_delays_nobody_and_its_events_come_when_it_commits(
    database: Database, pg: asyncpg.Connection, listener: ListenerProcess, valkey: ValkeyServer
) -> None:
    other = await database.connect()
    async with Ear(valkey.url, "ventas") as ear:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("insert into ventas values (1, 0, '')")
        for number in range(2, 22):
            started = asyncio.get_running_loop().time()
            await pg.execute("insert into ventas values ($1, 0, '')", number)
            await ear.until(number - 1)
            assert asyncio.get_running_loop().time() - started < 0.25
        await transaction.commit()
        await ear.until(21)
        last = next(iter(ear.heard[-1][1].events()))
        assert b'"id":1,' in bytes(last.payload or b"")


@pytest.mark.slow
async def test_two_listeners_killed_in_turn_while_writing(
    database: Database, pg: asyncpg.Connection, new_listener: NewListener, streams: Streams, valkey: ValkeyServer
) -> None:
    pair = [new_listener().start(), new_listener().start()]
    async with Ear(valkey.url, "ventas") as ear:
        async with writers(database):
            for turn in range(6):
                await ear.until(ear.events + 50)
                leader = (
                    pair[turn % 2] if (await pair[turn % 2].readyz()).get("role") == "leader" else pair[1 - turn % 2]
                )
                leader.kill()
                leader.start()
        await streams.until_exact(pg, "ventas")
        await check_rows(streams)
        heard = [publication.position for _, publication in ear.heard]
        assert heard == [publication.position for publication in await streams.publications("ventas")]
