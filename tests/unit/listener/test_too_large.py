"""Events that are too large: the chain breaks there, told to all, and nothing else waits for them."""

import asyncio

import pytest

from listener_service.cut import Batch
from listener_service.heads import Heads
from listener_service.metrics import Metrics
from listener_service.pace import Pace
from listener_service.ports import Append, RedisAway, Tick
from listener_service.relay import Relay
from listener_service.trial import LARGE, Trial, in_turn
from shared.position import Position
from shared.publication import Publication
from shared.readiness import Readiness
from tests.contract.listener_fakes import (
    AT,
    FakeAdopted,
    FakeDoorbell,
    FakeLog,
    FakePublisher,
    LogModel,
    RedisModel,
    Step,
    no_step,
    row,
)

BIG = '"' + "x" * LARGE + '"'


class Crash(Exception):
    """The process is gone."""


class Counter:
    """A step that counts, and fails at one step with one error."""

    def __init__(self, at: int = -1, error: Exception | None = None, times: int = 1) -> None:
        self.count, self.at, self.error, self.times = 0, at, error, times

    async def __call__(self, name: str) -> None:
        self.count += 1
        if self.at <= self.count < self.at + self.times and self.error:
            raise self.error


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("listener_service.relay.backoff", lambda *_, **__: 0.0)


def world(page: int = 1000) -> tuple[LogModel, RedisModel]:
    """A log with one large event, and a Redis that does not take it. Small `page`: the tick is paged."""
    log, redis = LogModel(), RedisModel(most=LARGE)
    log.committed = [row(1), row(2, payload=BIG), row(3), row(4, "stock"), row(5, payload=BIG), row(6)]
    return log, redis


def relay(log: LogModel, redis: RedisModel, step: Step = no_step, *, page: int = 1000, patience: float = 0.0) -> Relay:
    stopping = asyncio.Event()
    return Relay(
        "e1",
        FakeLog(log, step, page=page, big=page),
        FakePublisher(redis, "e1", step),
        FakeDoorbell(stopping.set),
        FakeAdopted(),
        readiness=Readiness(),
        metrics=Metrics(),
        stopping=stopping,
        pace=Pace(tick=0.0, poll=0.0, fallback=0.0, patience=patience),
    )


def heard(redis: RedisModel, channel: str) -> list[tuple[str, str, list[int]]]:
    """(prev, position, event ids) of each publication."""
    found = [Publication(data) for name, data in redis.heard if name == channel]
    return [(str(each.prev), str(each.position), [event.id for event in each.events()]) for each in found]


BROKEN = [
    ("e1:0-0", "e1:1-1", [1]),
    ("e1:1-2", "e1:1-2", []),
    ("e1:1-2", "e1:1-3", [3]),
    ("e1:1-5", "e1:1-5", []),
    ("e1:1-5", "e1:1-6", [6]),
]


@pytest.mark.parametrize("page", [1000, 1, 2])
async def test_what_redis_never_takes_breaks_its_channel_and_holds_up_nobody(page: int) -> None:
    log, redis = world()
    subject = relay(log, redis, page=page)
    await subject.lead()
    assert heard(redis, "sales") == BROKEN
    assert heard(redis, "stock") == [("e1:0-0", "e1:1-4", [4])]
    assert subject.completed == 1
    assert (
        subject._metrics.registry.get_sample_value("notifiws_listener_left_out_total", {"too_large_for": "redis"}) == 2
    )


async def test_a_redis_in_trouble_is_waited_for() -> None:
    """Refused again and again, but so are small writes: not the event's fault."""
    log, redis = world()
    redis.most = 10**12
    step = Counter(8, RedisAway("OOM"), times=200)
    await relay(log, redis, step).lead()
    assert [ids for _, _, ids in heard(redis, "sales")] == [[1], [2], [3], [5], [6]]
    assert step.count > 200


async def test_trouble_between_two_small_writes_is_not_counted() -> None:
    """Redis takes small writes before each attempt, and refuses everything after it."""
    log, redis = world()
    attempts = 0

    async def step(name: str) -> None:
        nonlocal attempts
        if name == "append":
            attempts += 1
            redis.away = RedisAway("LOADING") if 3 <= attempts < 20 else None
        elif name == "renew":
            redis.away = None
        redis.most = LARGE if attempts < 20 else 10**12

    await relay(log, redis, step).lead()
    assert [ids for _, _, ids in heard(redis, "sales")] == [[1], [2], [3], [5], [6]]


async def test_it_is_tried_for_as_long_as_patience_says() -> None:
    trial = Trial(Append("a", Position("e1", 0, 0), Position("e1", 1, 1), b""), 100.0, 5.0)
    assert [trial.failed(now) for now in (101.0, 102.0, 103.0, 104.9, 105.0)] == [False] * 4 + [True]
    trial = Trial(Append("a", Position("e1", 0, 0), Position("e1", 1, 1), b""), 100.0, 5.0)
    assert [trial.failed(now) for now in (106.0, 107.0, 108.0)] == [False, False, True]


@pytest.mark.parametrize("page", [1000, 2])
async def test_crashed_anywhere_and_taken_over(page: int) -> None:
    count = Counter()
    log, redis = world()
    await relay(log, redis, count, page=page).lead()
    for at in range(1, count.count + 1):
        log, redis = world()
        with pytest.raises(Crash):
            await relay(log, redis, Counter(at, Crash()), page=page).lead()
        await relay(log, redis, page=page).lead()
        assert heard(redis, "sales") == BROKEN, at
        assert [ids for _, _, ids in heard(redis, "stock")] == [[4]], at


def test_what_the_log_s_reader_left_out_is_a_break_of_its_own() -> None:
    rows = [
        row(1),
        row(2, op="insert", payload=None, source="public.docs", key='{"id":7}', left_out=70_000_000),
        row(3),
        row(4, left_out=90_000_000),
    ]
    batch = Batch(Tick(7, AT), rows, Heads("e1"))
    found = [Publication(append.data) for append in batch.appends()]
    assert [(str(each.prev), str(each.position), each.count) for each in found] == [
        ("e1:0-0", "e1:7-1", 1),
        ("e1:7-2", "e1:7-2", 0),
        ("e1:7-2", "e1:7-3", 1),
        ("e1:7-4", "e1:7-4", 0),
    ]
    assert [(each.channel, each.table, each.key, each.id, each.bytes) for each in batch.left_out] == [
        ("sales", "public.docs", '{"id":7}', 2, 70_000_000),
        ("sales", None, None, 4, 90_000_000),
    ]


def test_large_ones_go_alone() -> None:
    def of(*sizes: int) -> list[Append]:
        origin = Position("e1", 0, 0)
        return [Append("a", origin, Position("e1", 1, number), b"x" * size) for number, size in enumerate(sizes, 1)]

    def events(*sizes: int) -> list[list[int]]:
        return [[append.position.event for append in group] for group in in_turn(of(*sizes))]

    assert events() == []
    assert events(1, 1) == [[1, 2]]
    assert events(1, LARGE + 1, 1, 1, LARGE + 1) == [[1], [2], [3, 4], [5]]
    assert events(LARGE + 1, LARGE + 1, LARGE) == [[1], [2], [3]]


async def test_what_is_left_out_is_said_once_however_often_its_page_is_read() -> None:
    log, redis = LogModel(), RedisModel()
    log.committed = [row(1), row(2, left_out=70_000_000), row(3)]
    subject = relay(log, redis, Counter(9, RedisAway("away"), times=12), page=2)
    await subject.lead()
    assert [ids for _, _, ids in heard(redis, "sales")] == [[1], [], [3]]
    said = subject._metrics.registry.get_sample_value("notifiws_listener_left_out_total", {"too_large_for": "bound"})
    assert said == 1
