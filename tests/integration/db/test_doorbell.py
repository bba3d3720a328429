"""The doorbell: silent while a relay is awake or none lives, rung while one sleeps, and never a writer's failure."""

import asyncio
from typing import Any

import pytest

from tests.integration.db.log import Log

TABLE = "create table t (id int primary key); select notifiws.watch('t', 'a');"


class Bell:
    """A connection that LISTENs, and how often it heard."""

    def __init__(self) -> None:
        self.rings = 0
        self.rung = asyncio.Event()

    def heard(self, *_: Any) -> None:
        self.rings += 1
        self.rung.set()


@pytest.fixture
async def bell(log: Log) -> Bell:
    await log.pg.execute(TABLE)
    ear = await log.session()
    bell = Bell()
    await ear.add_listener("notifiws", bell.heard)
    return bell


async def settle(log: Log) -> None:
    """Everything notified before is delivered once a later notification is."""
    done = asyncio.Event()
    ear = await log.session()
    await ear.add_listener("settled", lambda *_: done.set())
    await log.pg.execute("notify settled")
    await asyncio.wait_for(done.wait(), 10)


async def write(log: Log, *, role: str | None = None) -> None:
    number = await log.pg.fetchval("select coalesce(max(id), 0) + 1 from t")
    writer = await log.session(role)
    await writer.execute(f"insert into t values ({number})")


async def test_no_relay_no_ring(log: Log, bell: Bell) -> None:
    await write(log)
    await settle(log)
    assert bell.rings == 0


async def test_a_sleeping_relay_is_rung_once_a_transaction(log: Log, bell: Bell) -> None:
    relay = await log.session()
    assert await relay.fetchval("select pg_try_advisory_lock(1852797033, 2)")
    await log.pg.execute("begin; insert into t values (1); insert into t values (2); select notifiws.emit('a', '1')")
    await log.pg.execute("commit")
    await asyncio.wait_for(bell.rung.wait(), 10)
    await settle(log)
    assert bell.rings == 1
    await relay.fetch("select pg_advisory_unlock(1852797033, 2)")
    await write(log)
    await settle(log)
    assert bell.rings == 1


async def test_a_writer_without_grants_rings_too(log: Log, bell: Bell) -> None:
    await log.value("doorbell_try_lock")
    await log.pg.execute("grant insert on t to writer")
    await write(log, role="writer")
    await asyncio.wait_for(bell.rung.wait(), 10)


async def test_statements_that_change_nothing_and_rollbacks_do_not_ring(log: Log, bell: Bell) -> None:
    await log.value("doorbell_try_lock")
    writer = await log.session()
    await writer.execute("delete from t")
    await writer.execute("begin; insert into t values (1); rollback")
    await settle(log)
    assert bell.rings == 0


async def test_the_lock_is_the_barrier_behind_every_silent_writer(log: Log, bell: Bell) -> None:
    """While a silent writer's transaction is open no relay falls asleep; granted, its events are visible."""
    relay = await log.session()
    writer = await log.session()
    await writer.execute("begin; insert into t values (1)")
    assert not await relay.fetchval("select pg_try_advisory_lock(1852797033, 2)")
    await writer.execute("commit")
    assert await relay.fetchval("select pg_try_advisory_lock(1852797033, 2)")
    assert len(await log.cut()) == 1
    assert bell.rings == 0


async def test_off_skips_bell_and_lock(log: Log, bell: Bell) -> None:
    writer = await log.session()
    for value in ("off", "OFF", "false", "0"):
        await writer.execute(f"set notifiws.doorbell = '{value}'")
        await writer.execute("begin; delete from t; insert into t values (1); select notifiws.emit('a', '1')")
        assert await log.value("doorbell_try_lock"), value
        await writer.execute("commit")
        await settle(log)
        assert bell.rings == 0
        assert await log.value("doorbell_unlock")
    for command in ("reset notifiws.doorbell", "set notifiws.doorbell = on", "set notifiws.doorbell = ''"):
        await writer.execute(command)
        await writer.execute("begin; delete from t; insert into t values (1)")
        assert not await log.value("doorbell_try_lock"), command
        await writer.execute("rollback")


async def test_a_relay_falling_asleep_again_and_again_misses_no_commit(log: Log, bell: Bell) -> None:
    """Random commits around the moment of falling asleep: whatever the relay finds asleep, the bell has said."""
    total = 400
    relay = await log.session()
    seen = 0

    async def writers() -> None:
        async def one(first: int) -> None:
            writer = await log.session()
            for number in range(first, first + total // 4):
                await writer.execute(f"insert into t values ({number})")
                if number % 7 == 0:
                    await asyncio.sleep(0.001)

        await asyncio.gather(*(one(n * 1000) for n in range(4)))

    writing = asyncio.create_task(writers())
    async with asyncio.timeout(60):
        while seen < total:
            if await relay.fetchval("select pg_try_advisory_lock(1852797033, 2)"):
                bell.rung.clear()
                last = len(await log.cut())
                seen += last
                if seen < total and not last:
                    await asyncio.wait_for(bell.rung.wait(), 20)  # never by a fallback: nothing polls here
                await relay.fetch("select pg_advisory_unlock(1852797033, 2)")
            seen += len(await log.cut())
    await writing
    assert seen == total
