"""The leader's loop: replay, then cut and publish while there is work, then sleep until the doorbell rings.

Tick n + 1 is never cut before tick n is wholly published and marked, so at a start only the last tick can be
unfinished. It is replayed; what Redis has of it already, the script refuses. Connections, the lock and the doorbell
are the adapters' (`ports.py` says what is asked of them); which events belong together is `cut.py`'s.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final, Protocol

from listener_service.cut import Batch, LeftOut
from listener_service.heads import Found, Heads
from listener_service.metrics import Metrics
from listener_service.pace import PACE, Budget, Pace
from listener_service.ports import (
    Append,
    Doorbell,
    Log,
    Mark,
    Overtaken,
    Publisher,
    RedisAway,
    RedisChanged,
    Tick,
)
from listener_service.trial import Trial, in_turn, large
from shared.backoff import backoff
from shared.codes import Unready
from shared.event import LogRow
from shared.logs import logger
from shared.readiness import Readiness

log = logger("relay")


# So many writes of adopted payloads (8 MB) before they are cut: while a large tick is published none is written.
TAKES: Final = 8


class Adopted(Protocol):
    """Adopted NOTIFY payloads that wait for the log."""

    def take(self) -> Sequence[tuple[str, str]]:
        """The next few (channel, payload), in the order of arrival; they stay until `taken`."""

    def taken(self) -> None:
        """The log has them."""


class Relay:
    """One leadership. Make a new one for the next: what is known of Redis' heads ends with it."""

    def __init__(
        self,
        epoch: str,
        log: Log,
        publisher: Publisher,
        doorbell: Doorbell,
        adopted: Adopted,
        *,
        readiness: Readiness,
        metrics: Metrics,
        stopping: asyncio.Event,
        pace: Pace = PACE,
        on_channels: Callable[[set[str]], None] = lambda channels: None,
        on_touched: Callable[[set[int]], None] = lambda tables: None,
    ) -> None:
        self._log = log
        self._publisher = publisher
        self._doorbell = doorbell
        self._adopted = adopted
        self._readiness = readiness
        self._metrics = metrics
        self._stopping = stopping
        self._pace = pace
        self._on_channels = on_channels
        self._on_touched = on_touched
        self._heads = Heads(epoch)
        self._epoch = epoch
        self._budget = Budget(pace, monotonic())
        self._failures = 0
        self._trial: Trial | None = None
        self._unpublished: tuple[Tick, float] | None = None
        # The furthest event, as (tick, id), that was on its way once, and those of its tick that Redis does not take.
        self._reached = (0, 0)
        self._given_up: set[int] = set()
        # Held while a tick is on its way: whoever has it finds all of the completed ones in Redis, and nothing moves.
        self.between = asyncio.Lock()
        # Set when Redis has lost something that the log may have.
        self.lost = asyncio.Event()
        self._told = 0
        # Whether it is being put back, or is about to be.
        # (or, at a start, whether anything is lost is not known yet)
        self.reseeding = True
        self.completed = 0
        self.losses = 0

    @property
    def heads(self) -> Heads:
        """Where the streams end. Change nothing there without `between`."""
        return self._heads

    async def mended(self, floor: int) -> None:
        """All that was published after tick `floor` is in Redis again. Call it with `between`. Raises RedisAway."""
        await self._log.confirm()
        await self._publisher.mark(Mark(self.completed, floor), mended=True)
        self._heads.trust(floor)
        self._told = floor

    @property
    def redis_failing(self) -> bool:
        """Whether the last attempt to publish failed."""
        return self._failures > 0

    @property
    def lag(self) -> float:
        """Seconds for which the newest tick has been waiting to be wholly published."""
        return 0.0 if self._unpublished is None else monotonic() - self._unpublished[1]

    async def lead(self) -> None:
        """Relay until `stopping`; what is in hand then is finished first. Raises LeadershipLost."""
        await self._replay()
        # After a tick, look again after pauses that double: whoever goes on writing need not ring.
        pause = self._pace.doze
        while not self._stopping.is_set():
            if await self._work():
                pause = self._pace.look
                continue
            if pause >= self._pace.doze and await self._doorbell.fall_asleep():
                await self._sleep()
                continue
            await self._doorbell.wait(min(pause, self._pace.poll))
            pause *= 2
        await self._write_adopted()  # the next leader cuts them

    async def _sleep(self) -> None:
        """Writers ring now, and all who did not are visible: one last look, then wait."""
        self._metrics.asleep.set(1)
        try:
            if not await self._work() and not self._stopping.is_set():
                await self._doorbell.wait(self._pace.fallback)
        finally:
            self._metrics.asleep.set(0)
            self._doorbell.wake_up()

    async def _replay(self) -> None:
        """Publish what the former leader may have left of the last tick."""
        last = await self._log.last_tick()
        marked = await self._begin()
        if marked is not None and marked.floor:
            self._heads.distrust(marked.floor)
            self.lost.set()
            self.reseeding = True
        newest = 0 if last is None else last.number
        if marked is not None and marked.tick > newest:
            raise Overtaken(f"tick {marked.tick} was published, and the log ends with tick {newest}")
        if last is None or self._stopping.is_set():
            self.reseeding = self.lost.is_set()
            return
        # Only a marked tick is followed by another, so a mark before the last but one is a lost one.
        self.completed = last.number - 1
        self.check(marked, self.completed)
        self.reseeding = self.lost.is_set()
        self._unpublished = (last, monotonic())
        await self._see_through(last, whole=marked is not None and marked.tick == last.number)

    async def _work(self) -> bool:
        """Adopted payloads into the log, then one cut, published. Returns whether there was a tick."""
        if wait := self._budget.wait(monotonic()):
            await asyncio.sleep(wait)
        await self._write_adopted(TAKES)
        cut = await self._log.cut()
        self._metrics.polls.labels("tick" if cut else "nothing").inc()
        if cut is None:
            return False
        self._budget.spend()
        self._unpublished = (cut.tick, monotonic())
        await self._see_through(cut.tick, cut.rows)
        return True

    async def _write_adopted(self, takes: int = sys.maxsize) -> None:
        while takes and (payloads := self._adopted.take()):
            await self._log.adopt(payloads)
            self._adopted.taken()
            self._metrics.adopted.inc(len(payloads))
            takes -= 1

    async def _see_through(self, tick: Tick, rows: Sequence[LogRow] | None = None, *, whole: bool = False) -> None:
        """Publish a tick and mark it, from its beginning each time that Redis may have forgotten some of it.

        `whole`: only the mark is wanting. Returns before that only when stopping: the next leader replays it.
        """
        async with self.between:
            while True:
                try:
                    if not whole and not await self._publish(tick, rows):
                        return
                    await self._complete(tick)
                    return
                except RedisAway as away:
                    # Outside of the reading of pages, so that no snapshot is held while Redis is away.
                    failure = away
                whole = False
                if not await self._again(failure, tick):
                    return

    async def _publish(self, tick: Tick, rows: Sequence[LogRow] | None) -> bool:
        """Publish all of a tick. False: stopped before its end. Raises RedisAway."""
        started, anew = monotonic(), self._reached < (tick.number, 0)
        if rows is None:
            if not await self._publish_pages(tick):
                return False
        else:
            batch = self._batch(tick, rows)
            if anew:
                self._metrics.statement_to_tick.observe(max(0.0, (tick.at - batch.first_at).total_seconds()))
            await self._push(batch)
        self._metrics.tick_to_publish.observe(monotonic() - started)
        return True

    async def _publish_pages(self, tick: Tick) -> bool:
        """The same, page by page."""
        pages, started = 0, monotonic()
        async with self._log.pages(tick, 0) as rows_of_page:
            async for rows in rows_of_page:
                last = rows[-1].id
                batch = self._batch(tick, rows)
                del rows  # one of them may be very large
                await self._push(batch)
                pages += 1
                if pages % 200 == 0:
                    log.info("publishing a big tick", tick=tick.number, pages=pages, last_event=last)
                if self._stopping.is_set():
                    return False
        if pages >= 200:
            log.info("big tick published", tick=tick.number, pages=pages, seconds=round(monotonic() - started, 2))
        return True

    def _batch(self, tick: Tick, rows: Sequence[LogRow]) -> Batch:
        batch = Batch(tick, rows, self._heads, self._given_up)
        furthest = (tick.number, rows[-1].id)
        if furthest <= self._reached:
            return batch  # once more, for Redis' sake
        self._reached = furthest
        self._on_channels(batch.written)
        # The tick is durable, so all that touched has committed: a query that is run from now on sees it.
        self._on_touched(batch.touched)
        self._metrics.events.inc(batch.events)
        for event in batch.left_out:
            self._left_out(
                event,
                "bound",
                "raise NOTIFIWS_MAX_EVENT_BYTES, or capture fewer columns (notifiws.watch(..., columns => ...))",
            )
        return batch

    async def _push(self, batch: Batch) -> None:
        """Publish a batch. Raises RedisAway; calling it again goes on."""
        while appends := batch.appends():
            for group in in_turn(appends):
                if not await self._append(batch, group):
                    break

    async def _append(self, batch: Batch, appends: Sequence[Append]) -> bool:
        """One call of Redis. False: what is still to be written is no longer what it was. Raises RedisAway."""
        first, trial = appends[0], self._trial
        tried = trial is not None and trial.is_about(first)
        if tried:
            await self._publisher.probe()
        try:
            if self._told != self._heads.floor:
                # Before anything is written over the hole, so that whoever finds it there knows of it.
                await self._publisher.mark(Mark(self.completed, self._heads.floor))
                self._told = self._heads.floor
            outcomes = await self._publisher.append(appends)
        except RedisAway as away:
            if isinstance(away, RedisChanged) or not large(first):
                raise
            if trial is None or not tried:
                self._trial = Trial(first, monotonic(), self._pace.patience)
                raise
            await self._publisher.probe()
            if not trial.failed(monotonic()):
                raise
            self._left_out(batch.leave_out(first), "redis", f"{away}; or lower NOTIFIWS_MAX_EVENT_BYTES below it")
            self._given_up.add(first.position.event)
            return False
        self._redis_is_back()
        self._metrics.publications.inc(sum(outcome.written for outcome in outcomes))
        self._metrics.published_bytes.inc(
            sum(len(append.data) for append, outcome in zip(appends, outcomes, strict=True) if outcome.written)
        )
        for channel, found in batch.settle(appends, outcomes).items():
            self._metrics.refused.labels(found.name.lower()).inc()
            if found is Found.BEHIND:
                self._lost(channel=channel, tick=batch.tick.number)
                # Only a leader may write over a hole: a deposed one could not tell it from its own lateness.
                await self._log.confirm()
        return all(outcome.written for outcome in outcomes)

    def _left_out(self, event: LeftOut, by: str, fix: str) -> None:
        self._metrics.left_out.labels(by).inc()
        log.error(
            "an event is too large and left out: the channel's clients are told to fetch afresh",
            **event._asdict(),
            fix=fix,
        )

    async def _complete(self, tick: Tick) -> None:
        """Mark a tick. Raises RedisAway, RedisChanged: then it is not marked, and Redis may lack some of it."""
        floor = self._heads.floor
        await self._publisher.mark(Mark(tick.number, floor), after=self.completed if self.completed > floor else 0)
        self._redis_is_back()
        self._unpublished = None
        self._given_up.clear()
        self.completed = tick.number
        self._metrics.ticks.inc()
        self._metrics.tick.set(tick.number)

    async def _begin(self) -> Mark | None:
        while True:
            try:
                marked = await self._publisher.begin()
                self._redis_is_back()
                return marked
            except RedisAway as away:
                if not await self._wait_for_redis(away):
                    return None

    async def _again(self, away: RedisAway, tick: Tick) -> bool:
        """Wait for Redis and see what it has lost: of `tick` it may have nothing. False: stopping."""
        changed = isinstance(away, RedisChanged)
        if changed:
            self._metrics.redis_changed.inc()
            log.warning(
                "Redis is not the one that it was: this tick is published again", reason=str(away), tick=tick.number
            )
        # At once the first time; a Redis that changes again and again is not asked all the time.
        wait = not changed or self._failures > 0
        self._failures += changed
        while True:
            if wait and not await self._wait_for_redis(away):
                return False
            wait = True
            try:
                marked = await self._publisher.renew()
            except RedisAway as error:
                away = error
                continue
            self.check(marked, self.completed)
            self._heads.withdraw(tick.number)
            return True

    async def _wait_for_redis(self, away: RedisAway) -> bool:
        """Keep the place, say why, wait. False: stopping, there is no point in trying again."""
        if self._failures == 0:
            log.warning("Redis does not take publications; the relay keeps its place", reason=str(away))
        self._failures += 1
        self._readiness.unready(Unready.REDIS, str(away))
        try:
            async with asyncio.timeout(backoff(self._failures, first=0.05, most=2.0)):
                await self._stopping.wait()
            return False
        except TimeoutError:
            pass
        await self._write_adopted()  # their queue is short, and the log is long
        return True

    def _redis_is_back(self) -> None:
        if self._failures:
            log.info("Redis takes publications again", attempts=self._failures)
            self._failures = 0
            self._readiness.clear(Unready.REDIS)

    def check(self, marked: Mark | None, completed: int) -> None:
        """Compare a mark with what was completed before it was asked for."""
        if completed > self._heads.floor and (marked is None or marked.tick < completed):
            self._lost(marked=marked and marked.tick, completed=completed)

    def _lost(self, **what: object) -> None:
        if self.completed > self._heads.floor:
            self.losses += 1
            self.lost.set()
            self.reseeding = True
            self._metrics.redis_lost.inc()
            self._heads.distrust(self.completed)
            log.error("Redis has lost publications: clients that have not seen them are told to fetch afresh", **what)
