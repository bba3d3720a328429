"""The doorbell: writers ring only for a sleeper, whoever is open, dead or deaf."""

import asyncio
import random
import time

import asyncpg
import pytest

from listener_service.doorbell import PostgresDoorbell
from listener_service.metrics import Metrics
from notifiws.stack.valkey import ValkeyServer
from shared.codes import Unready
from shared.readiness import Readiness
from shared.tasks import end
from tests.conftest import Database
from tests.integration.listener.conftest import Ear, ListenerProcess, NewListener, eventually

NEVER = 3600.0


async def test_a_writer_open_for_hours_makes_nobody_ring_or_wait(
    pg: asyncpg.Connection, database: Database, new_listener: NewListener, valkey: ValkeyServer
) -> None:
    """It keeps the relay awake: which then looks at most every 50 ms, and the others' commits are out within that."""
    subject = new_listener().start(fallback=NEVER)
    await subject.until(ready=True, role="leader")
    other = await database.connect()
    number = 0
    async with Ear(valkey.url, "ventas") as ear:

        async def silent() -> bool:
            """It came while the relay was awake. (One that finds it asleep rings when it commits, and keeps nobody.)"""
            nonlocal number
            number += 1
            await pg.execute("insert into ventas values ($1, 0, '')", number)
            await other.execute("begin; insert into ventas values (0, 0, '')")
            held = await pg.fetchval(
                "select true from pg_locks where locktype = 'advisory' and classid = 1852797033 and objid = 2"
                " and mode = 'ShareLock' and pid = $1",
                other.get_server_pid(),
            )
            if not held:
                await other.execute("rollback")
            return bool(held)

        await eventually(silent)
        await ear.until(number)
        rings, looks = await subject.metric("doorbell_rings_total"), await looked(subject)
        started = time.monotonic()
        for _ in range(20):
            number += 1
            await asyncio.sleep(0.02)
            sent = time.monotonic()
            await pg.execute("insert into ventas values ($1, 0, '')", number)
            assert await ear.until(number) - sent < 0.25
        await asyncio.sleep(1)
        seconds = time.monotonic() - started
        assert await subject.metric("doorbell_rings_total") == rings
        # A tick is followed by up to eight looks before they are 50 ms apart.
        assert 5 < await looked(subject) - looks < seconds / 0.05 + 20 * 8
        assert await subject.metric("doorbell_asleep") == 0
        await other.execute("commit")
        await ear.until(number + 1)

    async def sleeps() -> bool:
        return await subject.metric("doorbell_asleep") == 1

    await eventually(sleeps)


async def looked(subject: ListenerProcess) -> float:
    return await subject.metric("polls_total", found="nothing") + await subject.metric("polls_total", found="tick")


async def test_of_several_relays_only_the_leader_s_bell_rings_and_a_dead_one_s_never(
    pg: asyncpg.Connection, database: Database, new_listener: NewListener, valkey: ValkeyServer
) -> None:
    listeners = [new_listener().start(fallback=NEVER) for _ in range(3)]
    for each in listeners:
        await each.until(ready=True)

    async def holders() -> list[int]:
        rows = await pg.fetch(
            "select pid from pg_locks where locktype = 'advisory' and classid = 1852797033 and objid = 2"
            " and mode = 'ExclusiveLock'"
        )
        return [row["pid"] for row in rows]

    async def one_sleeps() -> bool:
        return len(await holders()) == 1

    async def none_sleeps() -> bool:
        return not await holders()

    async with Ear(valkey.url, "ventas") as ear:
        for number in range(1, 4):
            await eventually(one_sleeps)
            sent = time.monotonic()
            await pg.execute("insert into ventas values ($1, 0, '')", number)
            assert await ear.until(number) - sent < 0.25
            [leader] = [each for each in listeners if await each.metric("leader") == 1]
            leader.kill()
            listeners.remove(leader)
            if listeners:
                await eventually(lambda: _leads(listeners), 20)
    # All are dead: nothing of them is left that a writer would ring for.
    await eventually(none_sleeps)
    rung = asyncio.Event()
    hears = await database.connect()
    await hears.add_listener("notifiws", lambda *_: rung.set())
    await pg.execute("insert into ventas values (100, 0, '')")
    done = asyncio.Event()
    await hears.add_listener("done", lambda *_: done.set())
    await pg.execute("notify done")
    await asyncio.wait_for(done.wait(), 5)
    assert not rung.is_set()


async def _leads(listeners: list[ListenerProcess]) -> bool:
    return any([await each.metric("leader") == 1 for each in listeners])


async def test_long_and_short_transactions_while_it_wants_to_sleep(
    pg: asyncpg.Connection, database: Database, new_listener: NewListener, valkey: ValkeyServer
) -> None:
    """Writers that hold the bell's lock for a while keep it awake; their commit is noticed all the same."""
    subject = new_listener().start(fallback=NEVER)
    await subject.until(ready=True, role="leader")
    number = 0

    async def write(seed: int) -> None:
        nonlocal number
        chance = random.Random(seed)
        connection = await database.connect()
        for _ in range(40):
            number += 1
            key = number
            async with connection.transaction():
                await connection.execute("insert into ventas values ($1, 0, '')", key)
                await asyncio.sleep(chance.choice((0, 0, 0.02, 0.1)))
            await asyncio.sleep(chance.uniform(0.0, 0.05))

    async with Ear(valkey.url, "ventas") as ear:
        await asyncio.gather(*(write(seed) for seed in range(3)))
        ended = time.monotonic()
        await ear.until(120, seconds=5)
        assert ear.heard[-1][0] - ended < 0.25


async def test_under_load_nobody_rings(pg: asyncpg.Connection, new_listener: NewListener, valkey: ValkeyServer) -> None:
    subject = new_listener().start(burst=1)  # as after the first half second of a load
    await subject.until(ready=True, role="leader")
    async with Ear(valkey.url, "ventas") as ear:
        for number in range(300):
            await pg.execute("insert into ventas values ($1, 0, '')", number)
        await ear.until(300)
    assert await subject.metric("doorbell_rings_total") < 30
    assert await subject.metric("ticks_total") < 290, "a tick under load lasts at least 10 ms"


async def test_a_writer_with_the_doorbell_off_is_served_by_the_fallback(
    pg: asyncpg.Connection, listener: ListenerProcess, valkey: ValkeyServer
) -> None:
    async with Ear(valkey.url, "ventas") as ear:
        await asyncio.sleep(0.2)
        await pg.execute("set notifiws.doorbell = off")
        await pg.execute("insert into ventas values (1, 0, '')")
        await ear.until(1, seconds=3)


async def test_after_its_connection_was_ended_it_listens_again(
    pg: asyncpg.Connection, database: Database, new_listener: NewListener, valkey: ValkeyServer
) -> None:
    subject = new_listener().start(fallback=NEVER)
    await subject.until(ready=True, role="leader")
    admin = await database.connect(superuser=True)
    async with Ear(valkey.url, "ventas") as ear:
        for number in range(1, 4):
            await admin.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where application_name = 'notifiws doorbell' and datname = current_database()"
            )
            await pg.execute("insert into ventas values ($1, 0, '')", number)
            await ear.until(number, seconds=1)
    await subject.until(ready=True)


async def test_deafness_is_noticed_and_mended(database: Database) -> None:
    """A connection that answers every query and hears nothing."""
    readiness, metrics = Readiness(), Metrics()
    doorbell = PostgresDoorbell(database.url, readiness, metrics)
    running = asyncio.create_task(doorbell.run())
    try:

        async def listening() -> bool:
            return doorbell._session is not None and not readiness.has(Unready.DEAF)

        await eventually(listening)
        session = doorbell._session
        assert session is not None
        async with session.turn() as connection:
            await connection.execute("unlisten *")

        async def noticed() -> bool:
            return metrics.registry.get_sample_value("notifiws_listener_doorbell_deaf_total") == 1

        await eventually(noticed, 8)
        assert doorbell._session is None or doorbell._session is not session
        await eventually(listening)
    finally:
        running.cancel()
        await asyncio.wait((running,))


@pytest.mark.parametrize("held", [True, False])
async def test_it_sleeps_only_when_no_writer_is_at_work(held: bool, pg: asyncpg.Connection, database: Database) -> None:
    doorbell = PostgresDoorbell(database.url, Readiness(), Metrics())
    running = asyncio.create_task(doorbell.run())
    try:

        async def listening() -> bool:
            return doorbell._session is not None

        await eventually(listening)
        transaction = pg.transaction()
        await transaction.start()
        if held:
            await pg.execute("insert into ventas values (1, 0, '')")
        assert await doorbell.fall_asleep() is not held
        await transaction.rollback()
        doorbell.wake_up()
        assert await doorbell.fall_asleep()
        await pg.execute("insert into ventas values (2, 0, '')")
        started = time.monotonic()
        await doorbell.wait(5)
        assert time.monotonic() - started < 1
        doorbell.wake_up()
    finally:
        running.cancel()
        await asyncio.wait((running,))


async def test_a_connection_that_ends_while_a_probe_is_out_is_noticed_at_once(database: Database) -> None:
    """Not only when the probe is given up: until then nobody would ring a sleeping relay."""
    doorbell = PostgresDoorbell(database.url, Readiness(), Metrics())
    running = asyncio.create_task(doorbell.run())
    try:
        await asyncio.wait_for(doorbell.listening.wait(), 10)
        session, probe = doorbell._session, doorbell._probe
        assert session is not None
        async with session.turn() as connection:
            await connection.execute("unlisten *")

        async def probing() -> bool:
            return doorbell._probe is not probe

        await eventually(probing)
        admin = await database.connect(superuser=True)
        await admin.execute("select pg_terminate_backend($1)", session.connection.get_server_pid())
        await asyncio.wait_for(session.lost.wait(), 5)

        async def noticed() -> bool:
            return doorbell._session is not session

        await eventually(noticed, 1)
        await admin.close()
    finally:
        await end(running)
