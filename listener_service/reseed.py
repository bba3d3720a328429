"""Redis has lost publications: the leader builds the retained window anew from the log, beside the live streams.

It reads on a session of its own, tick by tick, and writes each channel's publications into a stream that expires. When
it has come to the last completed tick, it holds the relay for a moment and lets each stream take its channel's place.
Until then nodes answer from the log, where they have one. An operator sees it in /readyz, a metric and the log.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from time import monotonic
from typing import Final, Protocol

from listener_service.cut import Batch
from listener_service.heads import Heads
from listener_service.metrics import Metrics
from listener_service.ports import (
    Append,
    LeadershipLost,
    Log,
    Outcome,
    Overtaken,
    RedisAway,
    RedisChanged,
    Tick,
    Window,
)
from listener_service.relay import Relay
from listener_service.session import FAILURES
from listener_service.trial import in_turn, large
from shared.backoff import backoff
from shared.codes import Warned
from shared.logs import logger
from shared.position import Position
from shared.readiness import Readiness

log = logger("reseed")

# So many channels take their places in one call, while the relay waits.
SWAPS: Final = 200
# So often the relay is let go where it has moved on meanwhile; then it waits for the last few ticks to be read.
TRIES: Final = 10
# It may be Redis' memory that does not hold both.
ATTEMPTS: Final = 5


class Seeds(Protocol):
    """Streams that are being built, under a name. Every method may raise RedisAway."""

    @property
    def window(self) -> float:
        """Seconds for which streams keep what was published."""

    async def seed(self, name: str, tick: Tick, appends: Sequence[Append]) -> list[Outcome]:
        """Append as to a channel's stream; nobody hears it."""

    async def swap(self, name: str, channels: Sequence[str]) -> list[int]:
        """Let them take their channels' places. 1: done; 0: the channel has moved on; -1: it is gone."""

    async def drop(self, name: str, channels: Sequence[str]) -> None:
        """Give them up."""


class _Again(Exception):
    """What was built is of no use: Redis has lost something once more, or the log has."""


class Reseed:
    """One for a leadership. `run` it beside the relay."""

    def __init__(
        self,
        epoch: str,
        relay: Relay,
        seeds: Seeds,
        connect: Callable[[], AbstractAsyncContextManager[Log]],
        *,
        readiness: Readiness,
        metrics: Metrics,
    ) -> None:
        self._epoch = epoch
        self._relay = relay
        self._seeds = seeds
        self._connect = connect
        self._readiness = readiness
        self._metrics = metrics

    async def run(self) -> None:
        """For ever. Only cancellation ends it."""
        while True:
            await self._relay.lost.wait()
            await self._until_done()

    async def _until_done(self) -> None:
        self._seeding(True)
        reason = ""
        try:
            for attempt in range(1, ATTEMPTS + 1):
                self._relay.lost.clear()
                try:
                    await self._attempt(attempt)
                    return
                except (RedisAway, _Again, LeadershipLost, KeyError, *FAILURES) as error:
                    reason = str(error) or type(error).__name__
                log.warning("building Redis' window anew is put off", reason=reason, attempt=attempt)
                await asyncio.sleep(backoff(attempt, first=0.2, most=5.0))
            log.error(
                "Redis' window is not built anew: positions before the loss are answered from the log, or `expired`",
                reason=reason,
                fix="give Redis the memory for it, and restart the listener",
            )
        finally:
            self._seeding(False)

    def _seeding(self, now: bool) -> None:
        self._relay.reseeding = now or self._relay.lost.is_set()
        self._metrics.reseeding.set(now)
        self._readiness.warn(
            Warned.RESEEDING,
            "Redis has lost publications, and its window is built anew from the log; until then only nodes with a "
            "reader answer older positions"
            if now
            else None,
        )

    async def _attempt(self, attempt: int) -> None:
        started, losses = monotonic(), self._relay.losses
        async with self._connect() as source:
            window = await source.window(self._seeds.window)
            if window.first - 1 >= self._relay.heads.floor:
                return  # what was lost is older than the window
            build = _Build(f"{losses}-{attempt}-{monotonic():.6f}", self._epoch, window, self._seeds, source)
            log.info("building Redis' window anew from the log", first_tick=window.first, floor=self._relay.heads.floor)
            try:
                while not await self._hand_over(build, losses):
                    while build.tick < self._relay.completed:
                        self._still(losses)
                        await build.next()
                await self._trust(window, losses)
            except Exception:
                await build.drop()
                raise
        self._metrics.reseeded.inc()
        log.info(
            "Redis' window is whole again",
            seconds=round(monotonic() - started, 2),
            channels=build.done,
            events=build.events,
        )

    def _still(self, losses: int) -> None:
        if self._relay.losses != losses:
            raise _Again("Redis has lost publications again")
        if self._relay.redis_failing:
            raise RedisAway("Redis does not take live publications; they go first")

    async def _hand_over(self, build: "_Build", losses: int) -> bool:
        """Some channels' streams take their places, between two ticks. False: there is more to be done."""
        async with self._relay.between:
            self._still(losses)
            completed = self._relay.completed
            if build.tick < completed and build.tries < TRIES:
                build.tries += 1
                return False  # the relay need not wait for what can be read beside it
            while build.tick < completed:
                await build.next()
            channels = build.some(SWAPS)
            if channels:
                window = await build.source.window(self._seeds.window)
                if window.horizon >= build.first:
                    raise _Again("the log was shortened meanwhile")
                for channel, position in await build.swap(channels):
                    self._relay.heads.seeded(channel, position)
            return not build.waiting

    async def _trust(self, window: Window, losses: int) -> None:
        async with self._relay.between:
            self._still(losses)
            await self._relay.mended(0 if window.first - 1 <= window.epoch_tick else window.first - 1)


class _Build:
    """Streams as far as one tick."""

    def __init__(self, name: str, epoch: str, window: Window, seeds: Seeds, source: Log) -> None:
        self.source = source
        self.first = window.first
        self.tick = window.first - 1
        self.events = 0
        self.done = 0
        self.tries = 0
        # Where each stream ends that has not yet taken its channel's place.
        self.waiting: dict[str, Position] = {}
        self._swapped: set[str] = set()
        self._name = name
        self._seeds = seeds
        self._heads = Heads(epoch, capacity=1_000_000)
        if window.first - 1 > window.epoch_tick:
            # Where a channel ended before the window nobody asks: whoever stands there reads the log.
            self._heads.distrust(window.first - 1)

    async def next(self) -> None:
        """One tick more. Raises _Again."""
        tick = await self.source.tick(self.tick + 1)
        if tick is None:
            raise _Again(f"tick {self.tick + 1} is no longer in the log")
        async with self.source.pages(tick, 0) as pages:
            async for rows in pages:
                batch = Batch(tick, [row for row in rows if row.channel not in self._swapped], self._heads)
                self.events += batch.events
                await self._write(tick, batch)
        self.tick = tick.number

    async def _write(self, tick: Tick, batch: Batch) -> None:
        try:
            while appends := batch.appends():
                for group in in_turn(appends):
                    try:
                        outcomes = await self._seeds.seed(self._name, tick, group)
                    except RedisAway as away:
                        if isinstance(away, RedisChanged) or not large(group[0]):
                            raise
                        batch.leave_out(group[0])  # its clients are told, as when it was left out live
                        break
                    batch.settle(group, outcomes)
                    for append, outcome in zip(group, outcomes, strict=True):
                        if not outcome.written:
                            raise _Again("a stream that was being built is gone")
                        self.waiting[append.channel] = append.position
        except Overtaken as error:
            raise _Again(str(error)) from error

    def some(self, count: int) -> list[str]:
        """Channels whose streams are complete and wait for their places."""
        return [channel for channel, _ in zip(self.waiting, range(count), strict=False)]

    async def swap(self, channels: Sequence[str]) -> list[tuple[str, Position]]:
        """They take their places; where each ends. Raises _Again."""
        answers = await self._seeds.swap(self._name, channels)
        done = []
        for channel, answer in zip(channels, answers, strict=True):
            if answer == 1:
                done.append((channel, self.waiting.pop(channel)))
                self._swapped.add(channel)
        self.done += len(done)
        if len(done) < len(channels):
            raise _Again("a stream that was being built is gone, or its channel has moved on")
        return done

    async def drop(self) -> None:
        """Leave nothing."""
        try:
            channels = list(self.waiting)
            for start in range(0, len(channels), SWAPS):
                await self._seeds.drop(self._name, channels[start : start + SWAPS])
        except RedisAway:
            pass  # they expire
