"""Whether a channel is declared: Redis is asked before a node says no, but not by each who asks."""

import asyncio
from typing import Any, cast

import msgspec
import pytest

from shared.keys import Keys
from shared.readiness import Readiness
from ws_service import broker
from ws_service.broker import Broker
from ws_service.metrics import NodeMetrics


class World:
    """Redis, of which only the list of channels is asked, and a broker that nothing else tells of it."""

    def __init__(self, *channels: str) -> None:
        self.channels = channels
        self.away = False
        self.reads = 0
        self.answering = asyncio.Event()
        self.answering.set()
        nothing = cast(Any, self)
        self.broker = Broker(
            nothing,
            Keys("notifiws"),
            pubsub=nothing,
            retained=nothing,
            sink=nothing,
            readiness=Readiness(),
            metrics=NodeMetrics(),
        )

    def follow(self, _: object) -> None:
        """As the pub/sub connection."""

    async def get(self, key: str) -> bytes | None:
        """As Redis, without live queries."""
        if key == Keys("notifiws").live_queries:
            return None
        self.reads += 1
        await self.answering.wait()
        if self.away:
            raise OSError("away")
        return msgspec.json.encode(self.channels)


async def test_all_who_ask_within_a_second_share_one_read() -> None:
    world = World("sales")
    assert not any(await asyncio.gather(*(world.broker.is_declared(f"nobody{number}") for number in range(100))))
    assert not await world.broker.is_declared("nobody")
    assert await world.broker.is_declared("sales")
    assert world.reads == 1
    await world.broker.close()


async def test_then_it_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "_DECLARED_SECONDS", 0.0)
    world = World("sales")
    assert not await world.broker.is_declared("fresh")
    world.channels = ("sales", "fresh")
    async with asyncio.timeout(5):
        while not await world.broker.is_declared("fresh"):
            await asyncio.sleep(0)
    assert world.reads > 1
    await world.broker.close()


async def test_one_who_leaves_takes_the_answer_from_nobody() -> None:
    world = World("fresh")
    world.answering.clear()
    one, two = (asyncio.create_task(world.broker.is_declared("fresh")) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    await asyncio.sleep(0)
    world.answering.set()
    assert await two
    assert world.reads == 1
    await world.broker.close()


async def test_without_redis_it_is_no() -> None:
    world = World("sales")
    world.away = True
    assert not await world.broker.is_declared("sales")
    assert not await world.broker.is_declared("sales")
    assert world.reads == 1
    await world.broker.close()


async def test_a_read_under_way_ends_with_the_broker() -> None:
    world = World("sales")
    world.answering.clear()
    asking = asyncio.create_task(world.broker.is_declared("sales"))
    await asyncio.sleep(0)
    await world.broker.close()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(5):
            await asking
