"""What the leader tells each second, what it tells again, and what a standby makes of silence."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from listener_service import heartbeat
from listener_service.heads import Heads
from listener_service.heartbeat import MAX_WRITTEN, Heartbeat
from listener_service.metrics import Metrics
from listener_service.ports import Mark, RedisAway
from shared.codes import Unready
from shared.readiness import Readiness


class FakeKeys:
    """A Redis that remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.away: RedisAway | None = None
        self.channels: list[str] = []
        self.mark: Mark | None = None
        self.shown: bytes | None = None

    def _tell(self, what: str, value: Any = None) -> None:
        if self.away:
            raise self.away
        self.told.append((what, value))

    async def last_beat(self) -> bytes | None:
        self._tell("listened")
        return self.shown

    async def marked(self) -> Mark | None:
        self._tell("marked")
        return self.mark

    async def announce_epoch(self) -> None:
        self._tell("epoch")

    async def declare(self, channels: Sequence[str]) -> None:
        self._tell("channels", list(channels))

    async def declared(self) -> list[str]:
        return self.channels

    async def beat(self, heartbeat: dict[str, object]) -> None:
        self._tell("beat", heartbeat)

    def last(self, what: str) -> Any:
        return next((value for name, value in reversed(self.told) if name == what), None)

    def count(self, what: str) -> int:
        return sum(name == what for name, _ in self.told)


class FakeRelay:
    """The part of a Relay that a heartbeat sees."""

    def __init__(self) -> None:
        self.completed, self.losses, self.lag, self.redis_failing = 5, 0, 0.0, False
        self.lose = self.reseeding = False
        self.heads = Heads("e1")

    def check(self, marked: Mark | None, completed: int) -> None:
        if self.lose:
            self.lose = False
            self.losses += 1


@asynccontextmanager
async def beating(keys: FakeKeys, readiness: Readiness) -> AsyncIterator[Heartbeat]:
    subject = Heartbeat(keys, readiness, Metrics())
    running = asyncio.create_task(subject.run())
    try:
        yield subject
    finally:
        running.cancel()
        await asyncio.wait((running,))


async def until(keys: FakeKeys, what: str, count: int) -> None:
    async with asyncio.timeout(5):
        while keys.count(what) < count:
            await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "EVERY", 0.001)


async def test_a_leader_beats_with_epoch_tick_and_lag() -> None:
    keys, relay = FakeKeys(), FakeRelay()
    relay.lag = 1.5
    async with beating(keys, Readiness()) as subject:
        subject.lead(relay, "e1")  # type: ignore[arg-type]
        await until(keys, "beat", 3)
    beat = keys.last("beat")
    assert (beat["epoch"], beat["tick"], beat["lag_seconds"]) == ("e1", 5, 1.5)
    assert set(beat) == {"epoch", "tick", "at_ms", "lag_seconds", "floor", "reseeding"}


async def test_declared_and_written_channels_are_told_together_and_what_was_known_stays() -> None:
    keys = FakeKeys()
    keys.channels = ["emitted-long-ago"]
    async with beating(keys, Readiness()) as subject:
        subject.lead(FakeRelay(), "e1")  # type: ignore[arg-type]
        subject.declare(["stock", "sales"])
        await until(keys, "channels", 1)
        subject.written({"fresh"})
        async with asyncio.timeout(5):
            while keys.last("channels") != ["emitted-long-ago", "fresh", "sales", "stock"]:
                await asyncio.sleep(0)


async def test_a_channel_that_is_no_longer_declared_is_gone_whoever_told_of_it_first() -> None:
    keys = FakeKeys()
    keys.channels = ["stock", "emitted"]
    async with beating(keys, Readiness()) as subject:
        subject.lead(FakeRelay(), "e1")  # type: ignore[arg-type]
        await until(keys, "channels", 1)
        subject.declare(["stock"])
        subject.declare([])
        async with asyncio.timeout(5):
            while keys.last("channels") != ["emitted"]:
                await asyncio.sleep(0)


async def test_channels_that_are_only_written_to_are_bounded() -> None:
    keys = FakeKeys()
    async with beating(keys, Readiness()) as subject:
        subject.lead(FakeRelay(), "e1")  # type: ignore[arg-type]
        subject.written(str(number) for number in range(MAX_WRITTEN + 500))
        await until(keys, "channels", 1)
    assert len(keys.last("channels")) == MAX_WRITTEN


async def test_after_a_loss_everything_is_told_again_at_once() -> None:
    keys, relay = FakeKeys(), FakeRelay()
    async with beating(keys, Readiness()) as subject:
        subject.lead(relay, "e1")  # type: ignore[arg-type]
        await until(keys, "epoch", 1)
        before = keys.count("beat")
        relay.lose = True
        await until(keys, "epoch", 2)
        assert keys.count("beat") - before <= heartbeat.REPEAT


async def test_a_silent_redis_is_a_reason_until_it_answers() -> None:
    keys, readiness = FakeKeys(), Readiness()
    keys.away = RedisAway("Redis is not reached; start it")
    async with beating(keys, readiness):
        async with asyncio.timeout(5):
            while not readiness.has(Unready.REDIS):
                await asyncio.sleep(0)
            keys.away = None
            while readiness.has(Unready.REDIS):
                await asyncio.sleep(0)


async def test_while_the_relay_fails_an_answer_to_the_heartbeat_is_not_enough() -> None:
    keys, readiness, relay = FakeKeys(), Readiness(), FakeRelay()
    relay.redis_failing = True
    readiness.unready(Unready.REDIS, "out of memory")
    async with beating(keys, readiness) as subject:
        subject.lead(relay, "e1")  # type: ignore[arg-type]
        await until(keys, "beat", 3)
        assert readiness.has(Unready.REDIS)


async def test_a_tick_that_waits_for_long_is_lagging() -> None:
    keys, readiness, relay = FakeKeys(), Readiness(), FakeRelay()
    relay.lag = 11.0
    async with beating(keys, readiness) as subject:
        subject.lead(relay, "e1")  # type: ignore[arg-type]
        await until(keys, "beat", 2)
        assert readiness.has(Unready.LAGGING)
        relay.lag = 0.0
        await until(keys, "beat", 5)
        assert not readiness.has(Unready.LAGGING)


async def test_a_standby_that_hears_no_leader_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "SILENT_SECONDS", 0.05)
    keys, readiness = FakeKeys(), Readiness()
    async with beating(keys, readiness):
        for number in range(20):
            keys.shown = str(number).encode()
            await until(keys, "listened", keys.count("listened") + 2)
        assert not readiness.has(Unready.LAGGING)
        async with asyncio.timeout(5):
            while not readiness.has(Unready.LAGGING):
                await asyncio.sleep(0.005)
            keys.shown = b"alive"
            while readiness.has(Unready.LAGGING):
                await asyncio.sleep(0.005)
