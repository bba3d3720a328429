"""Pages of the log over a model of it: any position, any order of commits, any size: whole, once, in order."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.event import LogRow
from shared.position import Position
from ws_service import log as module
from ws_service.log import Log
from ws_service.metrics import NodeMetrics
from ws_service.ports import Cut, Key, LogAway, State

AT = datetime(2026, 11, 24, 10, tzinfo=UTC)


class Model:
    """Transactions and the tick that each belongs to; ids are given out before commit, in any order."""

    def __init__(self, ticks: Sequence[int], events: Sequence[tuple[int, bool]], horizon: int) -> None:
        self.tick_of = dict(enumerate(ticks, 1))  # tx → tick
        self.last = max(ticks)
        self.events = [(number, tx, "c" if ours else "d") for number, (tx, ours) in enumerate(events, 1)]
        self.horizon = horizon
        self.epoch_tick = 0
        self.reached = self.last

    def snapshot(self, tick: int) -> str:
        begun = len(self.tick_of) + 1
        running = [tx for tx, of in self.tick_of.items() if of > tick]
        return f"{min(running, default=begun)}:{begun}:{','.join(map(str, running))}"

    def _between(self, s1: str, s2: str) -> set[int]:
        def seen(snapshot: str) -> set[int]:
            running = snapshot.split(":")[2]
            return set(self.tick_of) - set(map(int, filter(None, running.split(","))))

        return seen(s2) - seen(s1)

    # As the reader

    @asynccontextmanager
    async def session(self) -> AsyncIterator["Model"]:
        yield self

    async def state(self) -> State:
        return State(2, 1, "e1", self.horizon, self.epoch_tick, self.reached)

    async def cuts(self, first: int, last: int) -> list[Cut]:
        return [Cut(n, AT + timedelta(hours=n), self.snapshot(n)) for n in range(first, last + 1)]

    async def keys(self, s1: str, s2: str, channel: str, *, after: int, up_to: int, limit: int) -> list[Key]:
        txs = self._between(s1, s2)
        found = [Key(n, str(tx), 10) for n, tx, of in self.events if tx in txs and of == channel and after < n <= up_to]
        return sorted(found, key=lambda key: (key.id * 7919) % 101)[:limit]  # in no order

    async def last_keys(self, s1: str, s2: str, channel: str, *, before: int, limit: int) -> list[Key]:
        found = await self.keys(s1, s2, channel, after=0, up_to=before - 1, limit=10**6)
        return sorted(found, key=lambda key: -key.id)[:limit]

    async def rows(self, keys: Sequence[Key]) -> list[LogRow]:
        return [
            LogRow(key.id, key.tx, "c", "emit", None, None, None, None, "1", True, AT)
            for key in sorted(keys, key=lambda key: key.id)
        ]

    @property
    def wanted(self) -> list[tuple[int, int]]:
        """All of the channel, in the order of the stream."""
        return sorted((self.tick_of[tx], number) for number, tx, of in self.events if of == "c")


@st.composite
def models(draw: st.DrawFn) -> Model:
    ticks = draw(st.lists(st.integers(1, 9), min_size=1, max_size=12))
    events = draw(st.lists(st.tuples(st.integers(1, len(ticks)), st.booleans()), max_size=60))
    return Model(ticks, events, horizon=0)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_EVENTS", 4)
    monkeypatch.setattr(module, "PAGE_BYTES", 30)
    monkeypatch.setattr(module, "_FIRST_TICKS", 2)
    monkeypatch.setattr(module, "_MOST_TICKS", 4)


CHECKS = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@CHECKS
@given(models(), st.data())
def test_pages_from_anywhere_to_anywhere(model: Model, data: st.DataObject) -> None:
    places = [(0, 0), *model.wanted, *((tick, 0) for tick in range(1, model.last + 2))]
    after, until = sorted((data.draw(st.sampled_from(places)), data.draw(st.sampled_from(places))))
    if after == until:
        return
    log = Log(model, NodeMetrics())  # type: ignore[arg-type]
    end = Position("e1", *until)

    async def read() -> list[tuple[int, int]]:
        at = Position("e1", *after)
        seen = []
        while at < end:
            page = await log.page("c", at, end)
            assert page
            assert len(page) <= 5
            for publication in page:
                assert publication.prev == at, "no gap, no overlap"
                seen += [(event.position.tick, event.id) for event in publication.events()]
                at = publication.position
        assert at == end
        return seen

    assert asyncio.run(read()) == [order for order in model.wanted if after < order <= until]


@CHECKS
@given(models(), st.integers(1, 30))
def test_back_by_events(model: Model, count: int) -> None:
    log = Log(model, NodeMetrics())  # type: ignore[arg-type]
    found = asyncio.run(log.back("c", Position("e1", model.last + 1, 0), count))
    assert found is not None
    assert found.complete
    assert [order for order in model.wanted if order > found.position.order] == model.wanted[-count:]


async def test_back_to_a_time() -> None:
    log = Log(Model([1, 2, 3, 4], [], horizon=0), NodeMetrics())  # type: ignore[arg-type]
    for hours, tick in ((1.5, 2), (2, 2), (4, 4), (9, 5)):
        found = await log.at_time("e1", (AT + timedelta(hours=hours)).timestamp() * 1e6)
        assert found == (Position("e1", tick, 0), True)
    assert await log.at_time("e1", 0) == (Position("e1", 0, 0), True)
    assert await log.at_time("e0", 0) is None


async def test_retention_that_passes_while_a_page_is_read() -> None:
    """What was read may be short by then: it is not answered."""

    class Passing(Model):
        async def rows(self, keys: Sequence[Key]) -> list[LogRow]:
            self.horizon = 2
            return await super().rows(keys)

    log = Log(Passing([1, 2, 3], [(1, True), (2, True), (3, True)], horizon=0), NodeMetrics())  # type: ignore[arg-type]
    assert await log.page("c", Position("e1", 1, 1), Position("e1", 3, 3)) is None
    assert await log.page("c", Position("e1", 3, 0), Position("e1", 3, 3))


async def test_a_reader_that_has_not_got_there() -> None:
    model = Model([1, 2, 3], [(1, True), (2, True), (3, True)], horizon=0)
    model.reached = 2
    log = Log(model, NodeMetrics())  # type: ignore[arg-type]
    with pytest.raises(LogAway):
        await log.page("c", Position("e1", 1, 1), Position("e1", 3, 3))
    assert await log.page("c", Position("e1", 1, 1), Position("e1", 3, 0))
    with pytest.raises(LogAway):
        await log.back("c", Position("e1", 3, 3), 1)


async def test_a_node_without_a_reader_has_no_log() -> None:
    log = Log(None, NodeMetrics())
    assert not log.kept
    assert await log.page("c", Position("e1", 1, 1), Position("e1", 3, 3)) is None
    assert await log.oldest("e1") is None
