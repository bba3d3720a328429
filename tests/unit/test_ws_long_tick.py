"""A position inside a tick that takes long to publish, brought to a channel that has no part of it yet."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from shared.codes import Lost
from shared.position import Position
from tests.unit.test_ws_resume import Now, World, chain
from ws_service import resume
from ws_service.broker import Heartbeat
from ws_service.resume import Past, Start, locate

SINCE = Position("e1", 2, 70)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Tick 1 is whole; what happens to tick 2 the tests say."""
    monkeypatch.setattr(resume, "_AHEAD_SECONDS", 0.3)
    world = World(chain([1]), Now())  # type: ignore[arg-type]
    world.feed.confirm()
    world.feed.begin(world.publications[0].position, None)
    world.feed.settle(world.feed.confirmations)
    world.written = world.marked = 1
    return world


@contextlib.asynccontextmanager
async def beating(world: World, lag: float) -> AsyncIterator[None]:
    """A leader whose heartbeats say that tick 1 is whole, and for how long the next has waited."""

    async def beat() -> None:
        while True:
            world.heartbeat = Heartbeat("e1", 1, 0, lag)  # type: ignore[assignment]
            await asyncio.sleep(0.05)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def ask(world: World) -> Start:
    return await locate(world.feed, world, world.retained, Past(SINCE))  # type: ignore[arg-type]


async def test_it_is_waited_for_as_long_as_the_leader_says_that_its_tick_is_under_way(world: World) -> None:
    async with beating(world, 4.0):
        asking = asyncio.create_task(ask(world))
        done, _ = await asyncio.wait((asking,), timeout=1.0)
        assert not done
        world.marked = 2
        start = await asyncio.wait_for(asking, 1)
    assert start.recovered
    assert start.beneath == world.publications[0].position


@pytest.mark.parametrize("lag", [0.0, None])
async def test_where_nothing_is_under_way_or_nobody_says_so_it_is_ahead(world: World, lag: float | None) -> None:
    async with contextlib.AsyncExitStack() as stack:
        if lag is None:
            world.heartbeat = Heartbeat("e1", 1, 0, 4.0)  # type: ignore[assignment]  # the last one of a dead leader
        else:
            await stack.enter_async_context(beating(world, lag))
        start = await asyncio.wait_for(ask(world), 2)
    assert (start.recovered, start.reason) == (False, Lost.AHEAD)
