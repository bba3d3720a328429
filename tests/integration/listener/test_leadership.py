"""One leads, the others stand by: takeovers by death, by farewell, and of a frozen one."""

import asyncio
import signal
import time
from itertools import pairwise

import asyncpg
import pytest

from notifiws.stack.valkey import ValkeyServer
from tests.integration.listener.conftest import Ear, ListenerProcess, NewListener, Streams


@pytest.fixture
async def standby(listener: ListenerProcess, new_listener: NewListener) -> ListenerProcess:
    """A second listener, ready."""
    standby = new_listener().start()
    await standby.until(ready=True)
    assert (await standby.readyz())["role"] == "standby"
    return standby


async def test_a_killed_leader_is_followed_within_3_s(
    pg: asyncpg.Connection, listener: ListenerProcess, standby: ListenerProcess, streams: Streams, valkey: ValkeyServer
) -> None:
    async with Ear(valkey.url, "ventas") as ear:
        await pg.execute("insert into ventas values (1, 0, '')")
        await ear.until(1)
        listener.kill()
        started = time.monotonic()
        await pg.execute("insert into ventas values (2, 0, '')")
        assert await ear.until(2) - started < 3
    assert (await standby.readyz())["role"] == "leader"
    await streams.until_exact(pg, "ventas")


async def test_a_leader_that_leaves_hands_over_at_once(
    pg: asyncpg.Connection, listener: ListenerProcess, standby: ListenerProcess, streams: Streams, valkey: ValkeyServer
) -> None:
    async with Ear(valkey.url, "ventas") as ear:
        for number in range(20):
            await pg.execute("insert into ventas values ($1, 0, '')", number)
        listener.signal(signal.SIGTERM)
        for number in range(20, 200):
            await pg.execute("insert into ventas values ($1, 0, '')", number)
            await asyncio.sleep(0.002)
        await ear.until(200)
        arrivals = [at for at, _ in ear.heard]
        assert max(later - earlier for earlier, later in pairwise(arrivals)) < 0.5
    assert listener.wait(3) == 0
    await streams.until_exact(pg, "ventas")


async def test_readyz_is_503_from_sigterm_on(pg: asyncpg.Connection, listener: ListenerProcess) -> None:
    # Redis' absence keeps it from nothing: what it has in hand is the next leader's.
    listener.signal(signal.SIGTERM)
    while listener.process and listener.process.poll() is None:
        document = await listener.readyz()
        assert not document or "draining" in [reason["code"] for reason in document["reasons"]]
    assert listener.wait(3) == 0


@pytest.mark.slow
async def test_a_frozen_leader_is_followed_within_10_s_and_wakes_harmless(
    pg: asyncpg.Connection, listener: ListenerProcess, standby: ListenerProcess, streams: Streams, valkey: ValkeyServer
) -> None:
    async with Ear(valkey.url, "ventas") as ear:
        await pg.execute("insert into ventas values (1, 0, '')")
        await ear.until(1)
        listener.signal(signal.SIGSTOP)
        started = time.monotonic()
        await pg.execute("insert into ventas values (2, 0, '')")
        assert await ear.until(2, seconds=20) - started < 10
        listener.signal(signal.SIGCONT)
        await listener.until(ready=True, role="standby")
        await pg.execute("insert into ventas values (3, 0, '')")
        await ear.until(3)
    await streams.until_exact(pg, "ventas")
    assert (await standby.readyz())["role"] == "leader"
