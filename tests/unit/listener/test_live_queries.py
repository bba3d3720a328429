"""When a live query runs, and what becomes of its outcome: with a fake database and a fake Redis."""

import asyncio
import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener_service import live_queries
from listener_service.live_queries import AT_ONCE, LiveQueries, QueryFailed, Ran, RunsAway
from listener_service.live_query import RETRY_CHANGED_MOST, RETRY_MOST, LiveQuery, Schedule
from listener_service.metrics import Metrics
from listener_service.ports import RedisAway

AT = datetime(2026, 11, 24, 10, tzinfo=UTC)


def query(channel: str = "sums", version: int = 1, *, throttle: float = 0.01, digest: str | None = None) -> LiveQuery:
    return LiveQuery(channel, version, frozenset({7}), throttle, None, digest)


# The schedule


@given(
    changes=st.lists(st.floats(0, 20), min_size=1, max_size=60).map(sorted),
    throttle=st.floats(0.01, 2),
    takes=st.floats(0, 1),
)
def test_at_most_one_run_a_throttle_and_one_after_the_last_change(
    changes: list[float], throttle: float, takes: float
) -> None:
    schedule = Schedule(throttle, None)
    now, starts, coming = 0.0, [], list(changes)
    while True:
        due = schedule.due()
        if coming and coming[0] <= max(due, now):
            now = max(now, coming.pop(0))
            schedule.change()
            continue
        if due == inf:
            break
        now = max(now, due)
        schedule.start(now)
        starts.append(now)
        while coming and coming[0] <= now + takes:
            coming.pop(0)
            schedule.change()
        now += takes
        schedule.end(now)
    assert starts[0] == 0.0
    assert starts[-1] >= changes[-1] or changes[-1] == 0
    for before, after in itertools.pairwise(starts):
        assert after - before >= max(throttle, 2 * takes) - 1e-9
    # A change that comes late enough after a run is not kept waiting.
    for change in changes:
        assert any(change <= start <= change + throttle + 2 * takes + 1e-9 for start in starts)


def test_every_falls_on_the_database_s_clock() -> None:
    schedule = Schedule(0.25, 60.0)
    midnight = 1_795_564_800.0
    schedule.start(100.0)
    schedule.end(100.2, (100.0, midnight - 42.5))
    assert 142.5 < schedule.due() < 142.6
    # Without a clock, as after a failure at the very first run: so long after it.
    fresh = Schedule(0.25, 60.0)
    fresh.start(100.0)
    fresh.fail(100.1)
    assert fresh.due() == pytest.approx(100.6)


def test_failures_back_off_and_a_change_shortens_the_wait() -> None:
    schedule = Schedule(0.01, None)
    now, waits = 0.0, []
    for _ in range(12):
        schedule.start(now)
        schedule.fail(now)
        waits.append(schedule.due() - now)
        now = schedule.due()
    assert waits[:4] == [0.5, 1.0, 2.0, 4.0]
    assert waits[-1] == RETRY_MOST
    schedule.change()
    assert schedule.due() - now <= RETRY_CHANGED_MOST
    schedule.start(now)
    schedule.end(now)
    assert schedule.due() == inf


# The runners


class World:
    """A database that answers with `now`, and a Redis that holds what was published."""

    def __init__(self) -> None:
        self.now = "[1]"
        self.failure: Exception | None = None
        self.owner = True
        self.lost: set[str] = set()
        self.redis_away = False
        self.running = self.most = self.ran = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.published: list[tuple[str, str | None]] = []
        self.reports: list[str | None] = []
        self.declared: list[list[str]] = []
        self.news = asyncio.Event()

    async def run(self, query: LiveQuery, known: str | None) -> Ran | None:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            result = self.now
            await self.gate.wait()
            await asyncio.sleep(0)
            if self.failure is not None:
                raise self.failure
            if query.version < 0:
                return None
            return Ran(None if known == result else result, result, AT, 0.0, (0.0, 0.0))
        finally:
            self.running -= 1
            self.ran += 1
            self.news.set()

    async def publish(self, query: LiveQuery, ran: Ran, runs: int) -> bool:
        if isinstance(self.failure, RunsAway):
            raise self.failure
        if self.owner:
            self.published.append((query.channel, ran.result))
            self.lost.discard(query.channel)
        return self.owner

    async def report(
        self, query: LiveQuery, runs: int, at: datetime | None, seconds: float, failure: str | None
    ) -> None:
        self.reports.append(failure)

    async def declare_live_queries(self, term: int, channels: Sequence[str]) -> None:
        if self.redis_away:
            raise RedisAway("away")
        self.declared.append(list(channels))

    async def without_stream(self, channels: Sequence[str]) -> set[str]:
        if self.redis_away:
            raise RedisAway("away")
        return self.lost & set(channels)

    async def until_ran(self, times: int) -> None:
        async with asyncio.timeout(10):
            while self.ran < times:
                self.news.clear()
                await self.news.wait()
        for _ in range(5):  # let the runner take the outcome in
            await asyncio.sleep(0)


class Rig:
    """Live queries on a world."""

    def __init__(self) -> None:
        self.world = World()
        self.metrics = Metrics()
        self.woken = 0
        self.live = LiveQueries(3, self.world, self.world, metrics=self.metrics, on_result=self._wake)

    def _wake(self) -> None:
        self.woken += 1

    async def __aenter__(self) -> "Rig":
        self.task = asyncio.create_task(self.live.run())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.wait((self.task,))


async def test_it_publishes_what_changed_and_wakes_the_relay() -> None:
    async with Rig() as rig:
        await rig.live.follow([query(digest="[1]")])
        await rig.world.until_ran(1)
        assert (rig.world.published, rig.woken) == ([], 0), "a failover repeats nothing"
        rig.world.now = "[2]"
        rig.live.touched({8, 9})
        rig.live.touched({7})
        await rig.world.until_ran(2)
        assert (rig.world.published, rig.woken) == ([("sums", "[2]")], 1)
        rig.live.touched({7})
        await rig.world.until_ran(3)
        assert rig.world.published == [("sums", "[2]")]
        assert rig.world.ran == 3


async def test_one_at_a_time_each_and_a_few_at_once() -> None:
    async with Rig() as rig:
        rig.world.gate.clear()
        await rig.live.follow([query(f"q{number}") for number in range(20)])
        for _ in range(50):
            rig.live.touched({7})
            await asyncio.sleep(0)
        assert rig.world.running == AT_ONCE
        rig.world.gate.set()
        await rig.world.until_ran(20)
        assert rig.world.most == AT_ONCE


async def test_a_failure_keeps_the_last_result_and_is_said() -> None:
    async with Rig() as rig:
        await rig.live.follow([query(), query("other")])
        await rig.world.until_ran(2)
        rig.world.failure = QueryFailed("division by zero")
        rig.live.touched({7})
        await rig.world.until_ran(4)
        assert rig.live.failing == {"sums": "division by zero", "other": "division by zero"}
        assert rig.world.reports[-1] == "division by zero"
        assert rig.metrics.live_query_errors.labels("sums")._value.get() == 1
        rig.world.failure, rig.world.now = None, "[2]"
        await rig.world.until_ran(6)  # by itself
        assert rig.live.failing == {}
        assert len(rig.world.published) == 4


async def test_a_mistake_of_ours_ends_no_runner() -> None:
    async with Rig() as rig:
        rig.world.failure = ZeroDivisionError("ours")
        await rig.live.follow([query()])
        await rig.world.until_ran(1)
        assert "ours" in rig.live.failing["sums"]
        rig.world.failure = None
        await rig.world.until_ran(2)
        assert rig.live.failing == {}


async def test_an_outage_is_no_error_of_the_query_and_what_nobody_knows_is_published_again() -> None:
    async with Rig() as rig:
        await rig.live.follow([query(digest="[1]")])
        await rig.world.until_ran(1)
        rig.world.failure = RunsAway("away")
        rig.live.touched({7})
        await rig.world.until_ran(2)
        assert rig.live.failing == {}
        rig.world.failure, rig.world.now = None, "[2]"
        await rig.world.until_ran(3)
        assert rig.world.published == [("sums", "[2]")]


async def test_replaced_dropped_and_deposed() -> None:
    async with Rig() as rig:
        rig.world.owner = False
        await rig.live.follow([query()])
        await rig.world.until_ran(1)
        rig.live.touched({7})
        await asyncio.sleep(0.05)
        assert rig.world.ran == 1, "it is somebody else's now"
        rig.world.owner = True
        await rig.live.follow([query(version=2), query("gone", version=-1)])
        await rig.world.until_ran(3)
        assert rig.world.published == [("sums", "[1]")]
        assert rig.world.declared[-1] == ["gone", "sums"]
        await rig.live.follow([])
        rig.live.touched({7})
        await asyncio.sleep(0.05)
        assert rig.world.ran == 3
        assert rig.world.declared[-1] == []


async def test_before_it_knows_what_is_declared_it_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_queries, "LOOK_SECONDS", 0.01)
    async with Rig() as rig:
        await asyncio.sleep(0.05)
        assert rig.world.declared == [], "an empty list would drop them all"
        rig.world.gate.clear()
        await rig.live.follow([query()])
        replacing = asyncio.create_task(rig.live.follow([query(version=2)]))
        await asyncio.sleep(0.05)
        rig.world.gate.set()
        await replacing
        assert {tuple(channels) for channels in rig.world.declared} == {("sums",)}


async def test_what_redis_lost_is_published_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_queries, "LOOK_SECONDS", 0.02)
    async with Rig() as rig:
        rig.world.lost = {"sums"}
        await rig.live.follow([query(digest="[1]"), query("other", digest="[1]")])
        await rig.world.until_ran(2)
        assert rig.world.published == [("sums", "[1]")], "unchanged, but not there"
        rig.world.redis_away = True
        await asyncio.sleep(0.05)
        rig.world.redis_away = False
        rig.world.lost = {"other"}
        await rig.world.until_ran(3)
        assert rig.world.published[1:] == [("other", "[1]")]
