"""Catching up beside a channel that goes on: from any position, under any timing, nothing missed, nothing twice."""

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.codes import CloseCode, Lost
from shared.position import Position
from shared.publication import Publication
from tests.unit.test_ws_feed import chain
from ws_service import resume
from ws_service.connection import Batch
from ws_service.feed import Feed
from ws_service.groups import Frames
from ws_service.history import Mark, Page
from ws_service.hub import Hub
from ws_service.metrics import NodeMetrics
from ws_service.ports import LogAway
from ws_service.resume import Past, Start, catch_up, locate, locate_patiently
from ws_service.retained import Retained


class World:
    """A stream, a feed that hears of it late, and a client; every wait takes as many turns as Hypothesis likes."""

    def __init__(self, publications: list[Publication], data: st.DataObject) -> None:
        self.publications = publications
        self.data = data
        self.written = 0
        self.marked = 0
        self.trimmed = 0
        self.hub = Hub(NodeMetrics())
        self.feed = Feed("c", self.hub)
        self.epoch = "e1"
        self.heartbeat = None
        self.failing = False
        self.log = Forgotten()
        self.retained = Retained(self, self.log, NodeMetrics())  # type: ignore[arg-type]

    async def turns(self, most: int = 3) -> None:
        for _ in range(self.data.draw(st.integers(0, most), label="turns")):
            await asyncio.sleep(0)

    # As the broker and the history
    def forward(self, channel: str, epoch: str) -> "World":
        return self

    async def refresh_epoch(self) -> None:
        await self.turns()

    async def head(self, channel: str, epoch: str) -> Position:
        await self.turns()
        return self.publications[self.written - 1].position if self.written else Position.origin("e1")

    async def rebuilding(self, at: Position) -> bool:
        """See History."""
        return False

    async def mark(self, epoch: str) -> Mark | None:
        await self.turns()
        return Mark(self.marked, 0)

    async def read(self, at: Position | None) -> Page:
        await self.turns()
        if self.failing and self.data.draw(st.integers(0, 4), label="fails") == 0:
            raise OSError("Redis is away")
        kept = self.publications[self.trimmed : self.written]
        beyond = [each for each in kept if at is None or each.position > at]
        page = beyond[: self.data.draw(st.integers(1, 3), label="page")]
        await self.turns()
        return Page(page, len(page) == len(beyond))

    async def publish(self, count: int) -> None:
        """What the relay does; pub/sub brings each a little later, and sometimes not at all."""
        for _ in range(count):
            if self.written == len(self.publications):
                return
            publication = self.publications[self.written]
            self.written += 1
            await self.turns(2)
            self.marked = self.written
            if self.data.draw(st.integers(0, 9), label="lost") == 0:
                continue
            if not self.feed.receive(publication):
                await self.turns()
                assert self.feed.head is not None
                page = [each for each in self.publications[: self.written] if each.position > self.feed.head]
                assert self.feed.apply(page)
                self.feed.settle(self.feed.confirmations)


class Forgotten:
    """As the log of a node that has none."""

    async def page(self, channel: str, after: Position, until: Position) -> list[Publication] | None:
        return None


class Remembered(Forgotten):
    """A log that has everything, in its own cuts, and is away now and then."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def page(self, channel: str, after: Position, until: Position) -> list[Publication] | None:
        await self.world.turns()
        if self.world.data.draw(st.integers(0, 5), label="log away") == 0:
            raise LogAway
        between = [each for each in self.world.publications if after < each.position <= until]
        await self.world.turns()
        return between[: self.world.data.draw(st.integers(1, 3), label="log page")]


class Client:
    """A member and its connection: applies frames as a browser does, and checks the gap rule."""

    def __init__(self, world: World, position: Position) -> None:
        self.world = world
        self.position = position
        self.ids: list[int] = []
        self.resets: list[Lost] = []
        self.open = True
        self.buffered = 0

    @property
    def connection(self) -> "Client":
        return self

    @property
    def wanted(self) -> bool:
        return self.open

    def write(self, messages: Batch) -> None:
        for message in messages:
            frame: dict[str, Any] = msgspec.json.decode(message)
            assert Position.parse(frame["prev"]) <= self.position, "a gap"
            self.ids += [event["id"] for event in frame["events"]]
            self.position = Position.parse(frame["position"])

    def close(self, code: CloseCode, reason: str = "") -> None:
        self.open = False

    async def room(self, size: int) -> bool:
        await self.world.turns()
        return self.open

    def reset(self, reason: Lost, position: Position) -> None:
        self.resets.append(reason)
        self.ids.clear()
        self.position = position


class Now:
    """In place of Hypothesis' data: each wait takes one turn."""

    def draw(self, *_: object, **__: object) -> int:
        """One."""
        return 1


def at_event(publications: list[Publication], number: int) -> Position:
    tick = next((each.position.tick for each in publications if each.position.event >= number), 0) if number else 0
    return Position("e1", tick, number)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, "backoff", lambda *_, **__: 0.0)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_catch_up_under_any_timing(data: st.DataObject) -> None:
    asyncio.run(_catch_up(data, trim=False))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_catch_up_while_history_is_trimmed(data: st.DataObject) -> None:
    asyncio.run(_catch_up(data, trim=True))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_what_the_stream_no_longer_has_comes_from_the_log(data: st.DataObject) -> None:
    """From one to the other and back, whatever is trimmed meanwhile: nobody is told to fetch afresh."""
    asyncio.run(_catch_up(data, trim=True, log=True))


async def _catch_up(data: st.DataObject, *, trim: bool, log: bool = False) -> None:
    world = World(chain(data.draw(st.lists(st.integers(1, 4), min_size=2, max_size=14))), data)
    if log:
        world.retained.log = Remembered(world)  # type: ignore[assignment]
    world.written = data.draw(st.integers(0, len(world.publications)), label="written")
    before = world.publications[world.written - 1].position if world.written else Position.origin("e1")
    world.feed.confirm()
    world.feed.begin(before, None)
    world.feed.settle(world.feed.confirmations)
    since = at_event(world.publications, data.draw(st.integers(0, before.event), label="since"))
    client = Client(world, since)
    publishing = asyncio.create_task(world.publish(data.draw(st.integers(0, 14), label="more")))

    async def trimming() -> None:
        while not publishing.done():
            world.trimmed = data.draw(st.integers(world.trimmed, max(world.trimmed, world.written - 1)), label="trim")
            await asyncio.sleep(0)

    helper = asyncio.create_task(trimming()) if trim else None
    start: Start = await locate_patiently(world.feed, world, world.retained, Past(since))  # type: ignore[arg-type]
    if not start.recovered:
        assert trim
        assert not log
        client.reset(Lost.EXPIRED, start.position)
    first = client.position.event + 1
    world.failing = True
    await catch_up(
        world.feed, world.retained, world.hub, shape=Frames(), member=client, start=start,  # type: ignore[arg-type]
    )  # fmt: skip
    await publishing
    if helper:
        await helper
    # The next publication brings to light what pub/sub lost at the end.
    await asyncio.sleep(0)
    world.feed.apply([each for each in world.publications[: world.written] if each.position > world.feed.head])
    await asyncio.sleep(0)
    assert client.position == world.feed.head
    if client.resets:
        assert trim
        assert not log
        assert client.ids == sorted(set(client.ids))
    else:
        assert client.ids == list(range(first, client.position.event + 1))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_position_of_a_busier_channel(data: st.DataObject) -> None:
    """It lies in the log and beyond this channel's head, perhaps in a tick that is still being published."""
    asyncio.run(_busier(data))


async def _busier(data: st.DataObject) -> None:
    world = World(chain(data.draw(st.lists(st.integers(1, 3), min_size=2, max_size=8))), data)
    world.written = world.marked = data.draw(st.integers(1, len(world.publications) - 1), label="written")
    world.feed.confirm()
    world.feed.begin(world.publications[world.written - 1].position, None)
    world.feed.settle(world.feed.confirmations)
    more = data.draw(st.integers(0, len(world.publications) - world.written), label="more")
    of = world.publications[data.draw(st.integers(0, world.written + more - 1), label="of")].position
    since = Position("e1", of.tick, of.event + data.draw(st.integers(0, 9), label="beyond"))
    client = Client(world, since)
    publishing = asyncio.create_task(world.publish(more))
    start = await locate(world.feed, world, world.retained, Past(since))  # type: ignore[arg-type]
    assert (start.position, start.recovered) == (since, True)
    catching_up = asyncio.create_task(
        catch_up(world.feed, world.retained, world.hub, shape=Frames(), member=client, start=start)  # type: ignore[arg-type]
    )
    await publishing
    world.feed.apply([each for each in world.publications[: world.written] if each.position > world.feed.head])
    await asyncio.wait_for(catching_up, 10)
    await asyncio.sleep(0)
    assert not client.resets
    last = world.publications[world.written - 1].position.event
    assert client.ids == list(range(of.event + 1, last + 1))


@pytest.mark.parametrize(("event", "want"), [(1, [2]), (5, [])])
async def test_a_tick_that_is_completed_while_it_is_asked_about(event: int, want: list[int]) -> None:
    """This channel's part is published between the look at the stream and the look at the mark."""

    class Racing(World):
        async def mark(self, epoch: str) -> Mark | None:
            if self.written == 1:
                self.written = self.marked = 2
                self.feed.receive(self.publications[1])
            return await super().mark(epoch)

    world = Racing(chain([1, 1]), Now())  # type: ignore[arg-type]
    world.feed.confirm()
    world.feed.begin(world.publications[0].position, None)
    world.feed.settle(world.feed.confirmations)
    world.written = world.marked = 1
    client = Client(world, Position("e1", 2, event))
    start = await locate(world.feed, world, world.retained, Past(client.position))  # type: ignore[arg-type]
    assert start.recovered
    await catch_up(
        world.feed, world.retained, world.hub, shape=Frames(), member=client, start=start,  # type: ignore[arg-type]
    )  # fmt: skip
    assert client.ids == want


async def test_a_client_that_is_ahead_of_this_node_waits_for_it() -> None:
    """It was on a faster node: the stream has what this node's feed has not heard of yet."""
    world = World(chain([1, 1, 1]), Now())  # type: ignore[arg-type]
    world.feed.confirm()
    world.feed.begin(world.publications[0].position, None)
    world.feed.settle(world.feed.confirmations)
    world.written = 2
    client = Client(world, world.publications[1].position)
    start = await locate(world.feed, world, world.retained, Past(client.position))  # type: ignore[arg-type]
    assert start.recovered
    task = asyncio.create_task(
        catch_up(world.feed, world.retained, world.hub, shape=Frames(), member=client, start=start)  # type: ignore[arg-type]
    )
    await asyncio.sleep(0.01)
    assert not task.done()
    world.feed.receive(world.publications[1])
    await task
    world.written = 3
    world.feed.receive(world.publications[2])
    await asyncio.sleep(0)
    assert client.ids == [3]
    assert not client.resets
