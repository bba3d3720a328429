"""How a listener starts: with what it needs away, with what it cannot run on, and how it says so."""

import asyncio
import re
import signal
import socket
from importlib.metadata import version

import asyncpg
import pytest

from notifiws.stack.postgres import PostgresServer
from notifiws.stack.valkey import ValkeyServer
from tests.conftest import Database
from tests.integration.listener.conftest import ListenerProcess, NewListener, Streams
from tests.integration.listener.pooler import transaction_pooler


async def test_a_leader_says_so(listener: ListenerProcess) -> None:
    release = version("notifiws")
    assert await listener.readyz() == {"ready": True, "role": "leader", "version": release, "reasons": []}
    assert (await listener.get("/healthz"))[0] == 200
    assert await listener.metric("leader") == 1


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_asked_to_stop_it_ends_with_0(how: signal.Signals, listener: ListenerProcess) -> None:
    listener.signal(how)
    assert listener.wait(3) == 0


async def test_redis_away_at_the_start(
    pg: asyncpg.Connection, new_listener: NewListener, streams: Streams, valkey: ValkeyServer
) -> None:
    valkey.stop()
    await pg.execute("insert into ventas values (1, 0, '')")
    subject = new_listener().start()
    assert "REDIS_URL" in await subject.until_reason("redis")
    assert (await subject.get("/healthz"))[0] == 200
    valkey.start()
    await subject.until(ready=True, role="leader")
    await streams.until_exact(pg, "ventas")


async def test_redis_refuses_the_password(new_listener: NewListener, valkey: ValkeyServer) -> None:
    subject = new_listener(redis_url=f"redis://:wrong@127.0.0.1:{valkey.port}/0").start()
    message = await subject.until_reason("redis")
    assert "password" in message
    assert "wrong" not in message.replace("WRONGPASS", "")


async def test_postgres_away_at_the_start_and_later(
    postgres_server: PostgresServer,
    database: Database,
    pg: asyncpg.Connection,
    new_listener: NewListener,
    streams: Streams,
) -> None:
    postgres_server.stop()
    try:
        subject = new_listener().start()
        message = await subject.until_reason("postgres")
        assert "DATABASE_URL" in message
        assert database.server.owner_password not in message
    finally:
        postgres_server.start()
    await subject.until(ready=True, role="leader")
    postgres_server.stop()
    try:
        await subject.until_reason("postgres")
        assert (await subject.readyz())["role"] == "standby"
    finally:
        postgres_server.start()
    await subject.until(ready=True, role="leader")
    again = await database.connect()
    await again.execute("insert into ventas values (1, 0, '')")
    await streams.until_exact(again, "ventas")


async def test_a_wrong_password_is_no_reason_to_end(new_listener: NewListener, database: Database) -> None:
    subject = new_listener(re.sub(r":[^:/]+@", ":mistaken@", database.url)).start()
    assert "password" in await subject.until_reason("postgres")
    subject.signal(signal.SIGTERM)
    assert subject.wait(3) == 0


async def test_without_a_schema_it_ends_with_6(empty_database: Database, new_listener: NewListener) -> None:
    subject = new_listener(empty_database.url).start()
    assert subject.wait() == 6
    assert "notifiws migrate" in subject.tail()


async def test_a_schema_too_new_ends_it_with_6(
    database: Database, pg: asyncpg.Connection, new_listener: NewListener
) -> None:
    await pg.execute("update notifiws.meta set schema_version = 99, compatible_from = 98")
    assert new_listener().start().wait() == 6


async def test_a_newer_schema_that_is_still_compatible_runs(pg: asyncpg.Connection, new_listener: NewListener) -> None:
    await pg.execute("update notifiws.meta set schema_version = 99")
    await new_listener().start().until(ready=True)


async def test_a_port_in_use_ends_it_with_7(new_listener: NewListener) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        subject = new_listener(NOTIFIWS_LISTENER_PORT=str(taken.getsockname()[1])).start()
        assert subject.wait() == 7


async def test_a_transaction_pooler_ends_it_with_4(database: Database, new_listener: NewListener) -> None:
    async with transaction_pooler(database.url) as url:
        subject = new_listener(url).start()
        assert await asyncio.to_thread(subject.wait) == 4
    assert "pooler" in subject.tail()
