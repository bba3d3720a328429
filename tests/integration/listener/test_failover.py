"""Postgres crashes, fails over, or is restored elsewhere: the epoch goes on where the log does, and only there."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from db.migrate import migrate
from notifiws.stack.postgres import OWNER, PostgresServer, binaries
from notifiws.stack.valkey import ValkeyServer
from tests.integration.listener.conftest import Ear, NewListener, eventually
from tests.integration.listener.standby import Standby


@pytest.fixture
def primary(server_folder: Path) -> Iterator[PostgresServer]:
    """A Postgres that the test may end."""
    server = PostgresServer(server_folder / "primary", fsync=False)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(server_folder / "primary")


@pytest.fixture
def standby(primary: PostgresServer, server_folder: Path) -> Iterator[Standby]:
    """A standby of it, to be started by the test."""
    standby = Standby(primary, server_folder / "standby")
    yield standby
    standby.stop()
    shutil.rmtree(server_folder / "standby", ignore_errors=True)


async def prepare(server: PostgresServer) -> str:
    """Migrate; return the database's URL."""
    connection = await asyncpg.connect(server.url)
    await migrate(connection)
    await connection.close()
    return server.url


async def emit(url: str, *numbers: int) -> None:
    """One event each on channel a."""
    connection = await asyncpg.connect(url)
    for number in numbers:
        await connection.execute("select notifiws.emit('a', to_jsonb($1::int))", number)
    await connection.close()


def either(one: PostgresServer, other: PostgresServer) -> str:
    """The address of whichever of two servers takes writes."""
    return (
        f"postgresql://{OWNER}:{one.owner_password}@127.0.0.1:{one.port},127.0.0.1:{other.port}/notifiws"
        "?target_session_attrs=read-write"
    )


def payloads(ear: Ear) -> list[int]:
    return [int(bytes(event.payload or b"0")) for _, each in ear.heard for event in each.events()]


def epochs(ear: Ear) -> list[str]:
    return list(dict.fromkeys(each.position.epoch for _, each in ear.heard))


async def test_a_crash_of_postgres_is_no_new_epoch(
    primary: PostgresServer, valkey: ValkeyServer, new_listener: NewListener
) -> None:
    url = await prepare(primary)
    subject = new_listener(url).start()
    await subject.until(ready=True, role="leader")
    async with Ear(valkey.url, "a") as ear:
        await emit(url, 1, 2)
        await ear.until(2)
        primary.kill()
        await subject.until_reason("postgres")
        primary.start()
        await emit(url, 3)
        await ear.until(3)
        assert payloads(ear) == [1, 2, 3]
        assert len(epochs(ear)) == 1


async def test_a_standby_that_had_everything_goes_on_with_the_epoch(
    primary: PostgresServer, standby: Standby, valkey: ValkeyServer, new_listener: NewListener
) -> None:
    url = await prepare(primary)
    standby.follow()
    subject = new_listener(either(primary, standby)).start()
    await subject.until(ready=True, role="leader")
    async with Ear(valkey.url, "a") as ear:
        await emit(url, 1, 2)
        await ear.until(2)
        await standby.reach()
        primary.kill()
        await standby.promote()
        await emit(standby.url, 3)
        await ear.until(3)
        assert payloads(ear) == [1, 2, 3]
        assert len(epochs(ear)) == 1


async def test_a_standby_that_lagged_begins_a_new_epoch(
    primary: PostgresServer, standby: Standby, valkey: ValkeyServer, new_listener: NewListener
) -> None:
    url = await prepare(primary)
    standby.follow()
    subject = new_listener(either(primary, standby)).start()
    await subject.until(ready=True, role="leader")
    async with Ear(valkey.url, "a") as ear:
        await emit(url, 1, 2)
        await ear.until(2)
        await standby.reach()
        await standby.lag()
        await emit(url, 3, 4, 5)  # published, and then gone from the database
        await ear.until(5)
        primary.kill()
        await standby.promote()

        async def renamed() -> bool:
            # What is committed before the new epoch begins is told as a reset, not as an event.
            await emit(standby.url, 6)
            return len(epochs(ear)) == 2

        await eventually(renamed, 30, subject.tail)
        assert payloads(ear)[:5] == [1, 2, 3, 4, 5]
        assert set(payloads(ear)[5:]) == {6}


async def test_a_dump_restored_elsewhere_begins_a_new_epoch(
    primary: PostgresServer, server_folder: Path, valkey: ValkeyServer, new_listener: NewListener
) -> None:
    url = await prepare(primary)
    subject = new_listener(url).start()
    await subject.until(ready=True, role="leader")
    elsewhere = PostgresServer(server_folder / "elsewhere", fsync=False)
    async with Ear(valkey.url, "a") as ear:
        await emit(url, 1, 2)
        await ear.until(2)
        subject.kill()
        elsewhere.start()
        try:
            tools = binaries(primary.major)
            source = primary.url_of("notifiws", superuser=True)
            dump = subprocess.run([tools / "pg_dump", "--dbname", source], check=True, capture_output=True).stdout
            there = await asyncpg.connect(elsewhere.url_of("postgres", superuser=True))
            for role in ("notifiws_emitter", "notifiws_reader", "notifiws_listener"):
                await there.execute(f"create role {role}")
            await there.close()
            target = elsewhere.url_of("notifiws", superuser=True)
            psql = [tools / "psql", "--no-psqlrc", "-q", "-v", "ON_ERROR_STOP=1", "--dbname", target]
            subprocess.run(psql, input=dump, check=True, capture_output=True)
            subject = new_listener(elsewhere.url).start()
            await subject.until(ready=True, role="leader")
            await emit(elsewhere.url, 3)
            await ear.until(3)
            assert payloads(ear) == [1, 2, 3]
            assert len(epochs(ear)) == 2
        finally:
            subject.kill()
            elsewhere.stop()
            shutil.rmtree(server_folder / "elsewhere")
