"""A Redis that acknowledged a publication and is back without it: restarted from an older file, or a replica promoted.

The relay is stopped between an append and the mark of its tick, for only then does it not see the loss by the mark.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from listener_service.metrics import Metrics
from listener_service.pace import Pace
from listener_service.ports import Append, LeadershipLost, Mark, Outcome
from listener_service.publisher import RedisPublisher
from listener_service.relay import Relay
from notifiws.stack.valkey import ValkeyServer
from shared.keys import Keys
from shared.position import Position
from shared.publication import Publication
from shared.readiness import Readiness
from tests.contract.listener_fakes import FakeAdopted, FakeDoorbell, FakeLog, LogModel, row

KEYS = Keys("t")
NOTHING = Position("e1", 0, 0)


class Watched(RedisPublisher):
    """Calls `before_mark` once, before tick `at` is marked."""

    before_mark: Callable[[], Awaitable[None]] | None = None
    at = 2

    async def mark(self, mark: Mark, *, after: int = 0, mended: bool = False) -> None:
        """See Publisher."""
        if mark.tick == self.at and self.before_mark is not None:
            act, self.before_mark = self.before_mark, None
            await act()
        await super().mark(mark, after=after, mended=mended)


@pytest.fixture
async def publisher(valkey: ValkeyServer) -> AsyncIterator[Watched]:
    made = Watched(valkey.url, KEYS, max_age=3600, max_bytes=64_000_000)
    made.epoch = "e1"
    yield made
    await made.close()


def relay(log: LogModel, publisher: RedisPublisher, coming: list[list[int]]) -> Relay:
    """A leader of `log` to which these events come, a transaction each time that it falls asleep."""
    stopping = asyncio.Event()

    def idle() -> None:
        if coming:
            log.committed += [row(number) for number in coming.pop(0)]
        else:
            stopping.set()

    return Relay(
        "e1",
        FakeLog(log),
        publisher,
        FakeDoorbell(idle),
        FakeAdopted(),
        readiness=Readiness(),
        metrics=Metrics(),
        stopping=stopping,
        pace=Pace(tick=0.0, poll=0.0, fallback=0.0),
    )


async def stream(redis: "Redis[Any]") -> list[int]:
    """Event ids, the chain checked."""
    ids, at = [], NOTHING
    for _, fields in await redis.xrange(KEYS.stream("sales", "e1")):
        publication = Publication(fields[b"p"])
        assert publication.prev == at
        at = publication.position
        ids += [event.id for event in publication.events()]
    return ids


def _restore(valkey: ValkeyServer, saved: Path) -> None:
    shutil.rmtree(valkey.data)
    shutil.copytree(saved, valkey.data)
    owner = saved.stat()
    for path in (valkey.data, *valkey.data.rglob("*")):
        with suppress(PermissionError):
            os.chown(path, owner.st_uid, owner.st_gid)


@pytest.mark.parametrize("lost", ["the tick in hand", "the tick before, too"])
async def test_restarted_from_an_older_file_between_append_and_mark(
    lost: str, valkey: ValkeyServer, publisher: Watched, tmp_path: Path
) -> None:
    saved = tmp_path / "saved"

    async def save() -> None:
        shutil.copytree(valkey.data, saved)
        uid = valkey.data.stat()
        os.chown(saved, uid.st_uid, uid.st_gid)

    async def lose() -> None:
        valkey.kill()
        _restore(valkey, saved)
        valkey.start()

    log = LogModel()
    subject = relay(log, publisher, [[1], [2, 3]])
    whole = lost == "the tick in hand"
    # Saved after the first tick's mark (its last write), or before it.
    publisher.at, publisher.before_mark = (2, None) if whole else (1, save)
    if whole:
        append = publisher.append

        async def appending(appends: list[Append]) -> list[Outcome]:
            if appends[0].position.tick == 2 and not saved.exists():
                await save()
            return await append(appends)

        publisher.append = appending  # type: ignore[method-assign, assignment]

    async def arm() -> None:
        publisher.at, publisher.before_mark = 2, lose

    if whole:
        await arm()
    else:

        async def save_and_arm() -> None:
            await save()
            await arm()

        publisher.before_mark = save_and_arm
    await subject.lead()
    async with Redis.from_url(valkey.url) as redis:
        assert await redis.get(KEYS.published) == (b"e1:2:0" if whole else b"e1:2:1")
        assert await stream(redis) == [1, 2, 3]
    assert subject.losses == (0 if whole else 1)
    assert subject._metrics.registry.get_sample_value("notifiws_listener_redis_changed_total") == 1
    # What the restart left is whole, so the next leader has nothing to put right.
    log.committed.append(row(4))
    await relay(log, publisher, []).lead()
    async with Redis.from_url(valkey.url) as redis:
        assert await stream(redis) == [1, 2, 3, 4]


@pytest.fixture
def replica(server_folder: Path) -> Iterator[ValkeyServer]:
    server = ValkeyServer(server_folder / "replica")
    server.start()
    yield server
    server.stop()
    shutil.rmtree(server.home, ignore_errors=True)


async def test_a_promoted_replica_that_lacks_the_last_writes(
    valkey: ValkeyServer, replica: ValkeyServer, publisher: Watched
) -> None:
    """The address stays, as behind a proxy: each new connection reaches the new primary."""
    through = valkey.port

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", through)
        open_ends.extend((writer, back))

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
            sink.close()

        await asyncio.gather(copy(reader, back), copy(there, writer))

    open_ends: list[asyncio.StreamWriter] = []
    proxy = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    url = valkey.url.replace(f":{valkey.port}/", f":{port}/")
    proxied = Watched(url, KEYS, max_age=3600, max_bytes=64_000_000)
    proxied.epoch = "e1"
    replica.command("CONFIG", "SET", "masterauth", valkey.password)
    # Both take the same password, which the proxy passes on.
    replica.command("CONFIG", "SET", "requirepass", valkey.password)
    replica.password = valkey.password
    valkey.command("CONFIG", "SET", "repl-diskless-sync-delay", "0")
    replica.command("REPLICAOF", "127.0.0.1", str(valkey.port))
    async with Redis.from_url(replica.url) as copy_of, Redis.from_url(valkey.url) as primary:
        while (await copy_of.info("replication"))["master_link_status"] != "up":
            await asyncio.sleep(0.02)
        append = proxied.append

        async def appending(appends: list[Append]) -> list[Outcome]:
            if appends[0].position.tick == 2 and through == valkey.port:
                assert await primary.wait(1, 5000) == 1
                replica.command("REPLICAOF", "NO", "ONE")  # from here on it lags for ever
            return await append(appends)

        async def fail_over() -> None:
            nonlocal through
            assert await primary.xlen(KEYS.stream("sales", "e1")) == 2
            assert await copy_of.xlen(KEYS.stream("sales", "e1")) == 1
            through = replica.port
            for end in open_ends:
                end.close()

        proxied.append = appending  # type: ignore[method-assign, assignment]
        proxied.before_mark = fail_over
        subject = relay(LogModel(), proxied, [[1], [2, 3], [4]])
        await subject.lead()
        assert await stream(copy_of) == [1, 2, 3, 4]
        assert await copy_of.get(KEYS.published) == b"e1:3:0"
        assert subject.losses == 0
        assert subject._metrics.registry.get_sample_value("notifiws_listener_redis_changed_total") == 1
    await proxied.close()
    proxy.close()


async def test_scripts_flushed_or_a_deposed_leader_are_no_loss(valkey: ValkeyServer, publisher: Watched) -> None:
    async def flush() -> None:
        valkey.command("SCRIPT", "FLUSH")

    publisher.before_mark = flush
    log = LogModel()
    subject = relay(log, publisher, [[1], [2, 3]])
    await subject.lead()
    # A second leader on another connection has scripts of its own; the first one's still work, and change nothing.
    other = RedisPublisher(valkey.url, KEYS, max_age=3600, max_bytes=64_000_000)
    other.epoch = "e1"
    log.committed.append(row(4))
    await relay(log, other, []).lead()
    await other.close()
    assert await publisher.append([Append("sales", Position("e1", 2, 3), Position("e1", 9, 9), b"late")]) == [
        Outcome(False, Position("e1", 3, 4))
    ]
    with pytest.raises(LeadershipLost):
        await subject.lead()
    async with Redis.from_url(valkey.url) as redis:
        assert await stream(redis) == [1, 2, 3, 4]
