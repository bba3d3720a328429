"""A leader inside the test's own loop: the listener's parts over a real log and a real Redis, one step at a time.

What is kept in Redis is a setting of each step, so that a test says what lies in the stream and what only in the log.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from redis.asyncio import Redis

from listener_service.cut import Batch
from listener_service.heads import Heads
from listener_service.log import PostgresLog
from listener_service.ports import Mark
from listener_service.publisher import RedisPublisher
from listener_service.session import open_session
from shared.keys import Keys
from shared.position import Position
from tests.conftest import Database

KEYS = Keys("notifiws")


class Leader:
    """`commit` writes, `publish` cuts and publishes what was written."""

    def __init__(self, log: PostgresLog, redis_url: str, redis: Redis, writer: "asyncpg.Connection[Any]") -> None:
        self.log = log
        self.redis = redis
        self.writer = writer
        self.publisher = RedisPublisher(redis_url, KEYS, max_age=3600, max_bytes=64_000_000)
        self.tick = 0
        self.sent: dict[str, list[Position]] = {}
        """Each event's position, by channel, as it was published."""

    async def begin(self) -> None:
        """Announce the epoch."""
        self.epoch = self.publisher.epoch = (await self.log.meta()).epoch
        self.heads = Heads(self.epoch)
        await self.publisher.begin()
        await self.publisher.declare(["sales", "stock"])
        await self.beat()

    async def beat(self) -> None:
        """The mark and the heartbeat."""
        await self.publisher.mark(Mark(self.tick, self.heads.floor))
        await self.publisher.beat({"epoch": self.epoch, "tick": self.tick, "at_ms": 0, "lag_seconds": 0.0})

    async def commit(self, channel: str, count: int = 1, pad: int = 0) -> None:
        """One transaction with so many events."""
        await self.writer.execute(
            "select notifiws.emit($1, jsonb_build_object('n', g, 'pad', repeat('x', $3))) "
            "from generate_series(1, $2::int) g", channel, count, pad,
        )  # fmt: skip

    async def publish(self) -> Position | None:
        """Cut once and publish; returns the last position of the tick."""
        cut = await self.log.cut()
        if cut is None:
            return None
        self.tick = cut.tick.number
        last = 0
        if cut.rows is not None:
            last = await self._append(Batch(cut.tick, cut.rows, self.heads))
        else:
            async with self.log.pages(cut.tick, 0) as pages:
                async for rows in pages:
                    last = await self._append(Batch(cut.tick, rows, self.heads))
        await self.publisher.mark(Mark(self.tick, self.heads.floor))
        return Position(self.epoch, self.tick, last)

    async def emit(self, channel: str, count: int = 1, pad: int = 0) -> Position:
        """Commit and publish."""
        await self.commit(channel, count, pad)
        position = await self.publish()
        assert position is not None
        return position

    async def keep(self, channel: str, entries: int) -> None:
        """Trim the channel's stream to so many publications, as age or size would."""
        stream = KEYS.stream(channel, self.epoch)
        gone = await self.redis.xlen(stream) - entries
        if gone > 0:
            await self.redis.xtrim(stream, maxlen=entries, approximate=False)
            await self.redis.ltrim(KEYS.sizes(channel, self.epoch), gone, -1)

    async def _append(self, batch: Batch) -> int:
        for channel, events in batch._pending.items():
            sent = self.sent.setdefault(channel, [])
            sent += [Position(self.epoch, self.tick, event.id) for event in events]
        last = max(event.id for events in batch._pending.values() for event in events)
        while appends := batch.appends():
            batch.settle(appends, await self.publisher.append(appends))
        return last


@asynccontextmanager
async def leading(database: Database, redis_url: str) -> AsyncIterator[Leader]:
    """A leader that has begun; its log is this database."""
    writer = await database.connect()
    async with Redis.from_url(redis_url) as redis, open_session(database.url, "test leader") as session:
        leader = Leader(PostgresLog(session), redis_url, redis, writer)
        await leader.begin()
        pinging = asyncio.create_task(_ping(leader))
        try:
            yield leader
        finally:
            pinging.cancel()
            await asyncio.wait([pinging])
            await leader.publisher.close()


async def _ping(leader: Leader) -> None:
    while True:
        await asyncio.sleep(2)
        await leader.log.confirm()
