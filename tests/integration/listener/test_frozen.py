"""Ends that are frozen, not dead: the kernel still answers for them. Noticed within 10 s, shown, and survived."""

import asyncio
import os
import signal
import time

import asyncpg
import pytest

from notifiws.stack.valkey import ValkeyServer
from tests.conftest import Database
from tests.integration.listener.conftest import ListenerProcess, NewListener, Streams, eventually

pytestmark = pytest.mark.slow


async def test_a_frozen_redis(
    pg: asyncpg.Connection, listener: ListenerProcess, streams: Streams, valkey: ValkeyServer
) -> None:
    assert valkey.pid is not None
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        await pg.execute("insert into ventas values (1, 0, '')")
        assert "Redis" in await listener.until_reason("redis", 12)
        assert time.monotonic() - started < 10
    finally:
        os.kill(valkey.pid, signal.SIGCONT)
    await listener.until(ready=True)
    await streams.until_exact(pg, "ventas")


@pytest.mark.parametrize("session", ["notifiws relay", "notifiws doorbell"])
async def test_a_frozen_server_process(
    session: str, database: Database, pg: asyncpg.Connection, listener: ListenerProcess, streams: Streams
) -> None:
    pid = await pg.fetchval(
        "select pid from pg_stat_activity where application_name = $1 and datname = current_database()", session
    )
    os.kill(pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        await pg.execute("insert into ventas values (1, 0, '')")
        # A doorbell that froze while it slept holds its lock; the relay must not wait for it.
        if session == "notifiws doorbell":
            await streams.until_exact(pg, "ventas", seconds=10)

            async def renewed() -> bool:
                return await listener.metric("reconnects_total", connection="doorbell") >= 1

            await eventually(renewed, 10)
        else:
            # It holds the leader lock and nobody else can take it.
            await listener.until(10, ready=False)
        assert time.monotonic() - started < 10
    finally:
        os.kill(pid, signal.SIGCONT)
    await listener.until(20, ready=True, role="leader")
    await streams.until_exact(pg, "ventas")


async def test_asked_to_stop_while_its_server_process_is_frozen(
    pg: asyncpg.Connection, new_listener: NewListener
) -> None:
    subject = new_listener(NOTIFIWS_DRAIN_SECONDS="3s").start()
    await subject.until(ready=True, role="leader")
    pid = await pg.fetchval(
        "select pid from pg_stat_activity where application_name = 'notifiws relay' and datname = current_database()"
    )
    os.kill(pid, signal.SIGSTOP)
    try:
        await pg.execute("insert into ventas values (1, 0, '')")
        await asyncio.sleep(0.5)  # so that it has asked
        subject.signal(signal.SIGTERM)
        assert await asyncio.to_thread(subject.wait, 3.5) == 0
    finally:
        os.kill(pid, signal.SIGCONT)
