"""A listener as a process, and what it made of a database: streams, what subscribers heard, what was committed."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from notifiws.stack.valkey import ValkeyServer
from shared.keys import Keys
from shared.position import Position
from shared.publication import Publication
from tests.conftest import Database

KEYS = Keys("notifiws")
_PROGRAM = """
import sys
from listener_service.app import run
from listener_service.pace import Pace
from shared.settings import load
sys.exit(run(load(), Pace(fallback=float(sys.argv[1]), burst=int(sys.argv[2]), patience=float(sys.argv[3]))))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ListenerProcess:
    """`notifiws listener` without the command line."""

    def __init__(self, log: Path, database_url: str, redis_url: str, **settings: str) -> None:
        self.log = log
        self.port = int(settings.get("NOTIFIWS_LISTENER_PORT", free_port()))
        self.env = os.environ | {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "NOTIFIWS_LISTENER_PORT": str(self.port),
            "NOTIFIWS_LOG_FORMAT": "console",
            **settings,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, fallback: float = 1.0, burst: int = 200, patience: float = 5.0) -> "ListenerProcess":
        """Start it and return at once."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(fallback), str(burst), str(patience)],
                env=self.env,
                stdout=log,
                stderr=log,
            )
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def signal(self, what: signal.Signals) -> None:
        os.kill(self.pid, what)

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def wait(self, seconds: float = 10.0) -> int:
        """Its exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def _get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    async def get(self, path: str) -> tuple[int, bytes]:
        """A page of its own HTTP."""
        return await asyncio.to_thread(self._get, path)

    async def readyz(self) -> dict[str, Any]:
        """/readyz, `{}` while nobody answers."""
        try:
            status, body = await self.get("/readyz")
        except OSError:
            return {}
        document: dict[str, Any] = json.loads(body)
        assert (status == 200) is document["ready"]
        return document

    async def until(self, seconds: float = 15.0, **wanted: object) -> dict[str, Any]:
        """Poll /readyz until it says that."""
        found: dict[str, Any] = {}

        async def says() -> bool:
            nonlocal found
            assert self.process is not None
            assert self.process.poll() is None, f"ended with {self.process.returncode}\n{self.tail()}"
            found = await self.readyz()
            return wanted.items() <= found.items()

        await eventually(says, seconds, lambda: f"{found}\n{self.tail()}")
        return found

    async def until_reason(self, code: str, seconds: float = 15.0) -> str:
        """Poll /readyz until that code is among the reasons; returns its message."""
        message = ""

        async def says() -> bool:
            nonlocal message
            reasons = (await self.readyz()).get("reasons", [])
            message = next((reason["message"] for reason in reasons if reason["code"] == code), "")
            return bool(message)

        await eventually(says, seconds, self.tail)
        return message

    async def metric(self, name: str, **labels: str) -> float:
        """A metric's value, 0 when it is not there yet."""
        _, body = await self.get("/metrics")
        inside = ",".join(f'{label}="{value}"' for label, value in labels.items())
        wanted = f"notifiws_listener_{name}" + (f"{{{inside}}}" if inside else "")
        for line in body.decode().splitlines():
            if line.startswith(wanted + " "):
                return float(line.split()[-1])
        return 0.0

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-3000:]

    @property
    def rss(self) -> int:
        """Resident bytes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * 4096


async def eventually(
    check: Callable[[], Awaitable[bool]], seconds: float = 15.0, explain: Callable[[], str] = lambda: ""
) -> None:
    """Poll until `check` is true."""
    until = time.monotonic() + seconds
    while not await check():
        if time.monotonic() > until:
            raise AssertionError(f"not within {seconds} s: {explain()}")
        await asyncio.sleep(0.02)


NewListener = Callable[..., ListenerProcess]


@pytest.fixture
def new_listener(database: Database, valkey: ValkeyServer, tmp_path: Path) -> Iterator[NewListener]:
    """Make listeners on this test's database; they are not started yet, and killed at the end."""
    made: list[ListenerProcess] = []

    def make(database_url: str | None = None, redis_url: str | None = None, **settings: str) -> ListenerProcess:
        log = tmp_path / f"listener-{len(made)}.log"
        made.append(ListenerProcess(log, database_url or database.url, redis_url or valkey.url, **settings))
        return made[-1]

    yield make
    for each in made:
        if each.process and each.process.poll() is None:
            each.signal(signal.SIGCONT)
            each.kill()


@pytest.fixture
async def listener(new_listener: NewListener) -> ListenerProcess:
    """One that leads."""
    listener = new_listener().start()
    await listener.until(ready=True, role="leader")
    return listener


class Streams:
    """What is in Redis."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis

    async def publications(self, channel: str) -> list[Publication]:
        """The channel's stream of the present epoch."""
        epoch = (await self.redis.get(KEYS.epoch) or b"").decode()
        entries = await self.redis.xrange(KEYS.stream(channel, epoch))
        found = [Publication(fields[b"p"]) for _, fields in entries]
        assert [entry.decode() for entry, _ in entries] == [each.position.entry_id for each in found]
        return found

    async def ids(self, channel: str) -> list[int]:
        """Event ids of the channel, its links checked."""
        publications = await self.publications(channel)
        head = None
        ids = []
        for each in publications:
            assert each.prev == (head or Position.origin(each.position.epoch))
            head = each.position
            ids += [event.id for event in each.events()]
        return ids

    async def until_exact(self, pg: asyncpg.Connection, *channels: str, seconds: float = 30.0) -> None:
        """Every committed event of the channels is there once; fails at once on a second copy or a stranger."""
        for channel in channels:
            rows = await pg.fetch("select id from notifiws.outbox where channel = $1", channel)
            committed = {row["id"] for row in rows}

            async def complete(channel: str = channel, committed: set[int] = committed) -> bool:
                ids = await self.ids(channel)
                assert len(ids) == len(set(ids)), "published twice"
                assert set(ids) <= committed, "published and not committed"
                return len(ids) == len(committed)

            await eventually(complete, seconds)


@pytest.fixture
async def streams(valkey: ValkeyServer) -> AsyncIterator[Streams]:
    """This test's Redis."""
    redis: Redis = Redis.from_url(valkey.url)
    yield Streams(redis)
    await redis.aclose()


class Ear:
    """A subscriber: each publication of a channel with the time of its arrival (monotonic)."""

    def __init__(self, url: str, channel: str) -> None:
        self._redis: Redis = Redis.from_url(url)
        self._channel = channel
        self.heard: list[tuple[float, Publication]] = []
        self._news = asyncio.Event()

    async def __aenter__(self) -> "Ear":
        self._pubsub = self._redis.pubsub()
        await self._pubsub.subscribe(KEYS.live(self._channel))
        assert (await self._pubsub.get_message(timeout=5))["type"] == "subscribe"  # type: ignore[index]
        self._task = asyncio.create_task(self._hear())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait((self._task,))
        await self._pubsub.aclose()
        await self._redis.aclose()

    async def _hear(self) -> None:
        while True:
            message = await self._pubsub.get_message(ignore_subscribe_messages=True, timeout=None)
            if message:
                self.heard.append((time.monotonic(), Publication(message["data"])))
                self._news.set()

    @property
    def events(self) -> int:
        return sum(publication.count for _, publication in self.heard)

    async def until(self, events: int, seconds: float = 15.0) -> float:
        """Wait until so many events were heard; returns when the last one was."""
        async with asyncio.timeout(seconds):
            while self.events < events:
                self._news.clear()
                await self._news.wait()
        return self.heard[-1][0]


DDL = "create table {0} (id bigint primary key, n int not null, t text); select notifiws.watch('{0}', '{0}')"


@pytest.fixture
async def pg(database: Database) -> asyncpg.Connection:
    """The owner's connection, with a watched table `ventas`."""
    connection = await database.connect()
    await connection.execute(DDL.format("ventas"))
    return connection
