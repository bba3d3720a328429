"""A database restored to an earlier point: a new epoch, never events that are passed over in silence."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from db.migrate import migrate
from notifiws.stack.postgres import PostgresServer
from notifiws.stack.valkey import ValkeyServer
from tests.integration.listener.conftest import KEYS, Ear, NewListener, Streams, eventually


@pytest.fixture
def own_server(server_folder: Path) -> Iterator[PostgresServer]:
    """A Postgres whose files the test may exchange."""
    server = PostgresServer(server_folder / "restored", fsync=False)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(server_folder / "restored")


@pytest.mark.parametrize("lost", ["nothing in Redis", "the mark"])
async def test_a_backup_restored_under_a_redis_that_is_ahead(
    own_server: PostgresServer,
    server_folder: Path,
    valkey: ValkeyServer,
    new_listener: NewListener,
    streams: Streams,
    lost: str,
) -> None:
    url = own_server.url_of("notifiws")
    home, backup = server_folder / "restored", server_folder / "backup"

    async def emit(channel: str, count: int) -> None:
        connection = await asyncpg.connect(url)
        for number in range(count):
            await connection.execute("select notifiws.emit($1, to_jsonb($2::int))", channel, number)
        await connection.close()

    connection = await asyncpg.connect(url)
    await migrate(connection)
    await connection.close()
    subject = new_listener(url).start()
    await subject.until(ready=True, role="leader")
    async with Ear(valkey.url, "a") as ear:
        await emit("a", 2)
        await ear.until(2)
        own_server.stop()
        subprocess.run(["cp", "-a", home, backup], check=True)
        own_server.start()
        await emit("a", 10)
        await ear.until(12)
        former = {publication.position.epoch for _, publication in ear.heard}
        subject.signal(signal.SIGTERM)
        assert subject.wait() == 0
        own_server.stop()
        shutil.rmtree(home)
        backup.rename(home)
        own_server.start()
        if lost == "the mark":
            valkey.command("DEL", "notifiws:published")

        subject = new_listener(url).start()
        await subject.until(ready=True, role="leader")
        if lost == "nothing in Redis":  # what is committed before the new epoch begins is told as a reset

            async def begun() -> bool:
                return await streams.redis.get(KEYS.epoch) not in {name.encode() for name in former}

            await eventually(begun)
        async with Ear(valkey.url, "b") as other:
            await emit("b", 3)

            async def renamed() -> bool:
                # Without the mark it takes an event of a channel that is ahead to find out.
                await emit("a", 1)
                return ear.heard[-1][1].position.epoch not in former

            await eventually(renamed)
            heard = other.events
            await emit("b", 1)
            await other.until(heard + 1)
            assert other.heard[-1][1].position.epoch not in former
            # The mark alone tells it before anything is published under the former name.
            assert lost == "the mark" or {each.position.epoch for _, each in other.heard}.isdisjoint(former)
            assert lost == "the mark" or other.events == 4
