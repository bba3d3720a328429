"""Runs live queries while this listener leads: each one at a time, a few at once, and publishes what changed.

Which tables were written to, the relay says after each cut; what is declared, `declarations.py`. Running and publishing
is the adapter's (`live_query_runs.py`), where to publish is the log: from there on a result is an event like any other.
A query that fails keeps its last result and hurts no other one.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf
from time import monotonic
from typing import Final, Protocol

from listener_service.live_query import LiveQuery, Schedule
from listener_service.metrics import Metrics
from listener_service.ports import RedisAway
from shared.logs import logger
from shared.tasks import end

log = logger("live_queries")

# Runs at once, each on a connection of its own. More would take the database from the customer.
AT_ONCE: Final = 4
# Runs that changed nothing are told to the database this often.
REPORT_SECONDS: Final = 5.0
# Whether Redis still has each query's newest result. A relay that is behind may take longer than that to bring one
# there, so it is published again after twice as long each time.
LOOK_SECONDS: Final = 4.0
AGAIN_MOST: Final = 64.0


class QueryFailed(Exception):
    """The query, or what it asks of the database, is wrong. The text says what and what mends it."""


class RunsAway(Exception):
    """The database was not reached, or nobody knows whether it did what it was told."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A run's outcome. `result` None: unchanged. `clock`: a moment of ours, and the database's time of day then."""

    result: str | None
    digest: str
    at: datetime
    seconds: float
    clock: tuple[float, float]


class Runs(Protocol):
    """The database, for one leadership. Every method may raise RunsAway."""

    async def run(self, query: LiveQuery, known: str | None) -> Ran | None:
        """Run it; None: it was replaced or dropped. `known`: the digest of a result that need not be returned.

        Raises QueryFailed.
        """

    async def publish(self, query: LiveQuery, ran: Ran, runs: int) -> bool:
        """Log the result. False: the query was replaced or dropped, or another listener leads by now."""

    async def report(
        self, query: LiveQuery, runs: int, at: datetime | None, seconds: float, failure: str | None
    ) -> None:
        """Note runs that published nothing."""


class Redis(Protocol):
    """What live queries need of it. Every method may raise RedisAway."""

    async def declare_live_queries(self, term: int, channels: Sequence[str]) -> None:
        """Tell the nodes which channels carry a live query, unless a later leader has."""

    async def without_stream(self, channels: Sequence[str]) -> set[str]:
        """Those of them of which Redis has no event."""


class LiveQueries:
    """One leadership's. `run` it beside the relay; `touched`, `follow` at any time."""

    def __init__(
        self, term: int, runs: Runs, redis: Redis, *, metrics: Metrics, on_result: Callable[[], None] = lambda: None
    ) -> None:
        """`on_result` wakes the relay. `term`: see notifiws.claim_live_queries."""
        self.term = term
        self._runs = runs
        self._redis = redis
        self._metrics = metrics
        self._on_result = on_result
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._runners: dict[str, _Runner] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        # The channels as the database lists them: one whose runner is being replaced is none the less there.
        self._declared: list[str] = []
        self._followed = False
        self._declaring = asyncio.Lock()
        self._ended = False

    @property
    def failing(self) -> dict[str, str]:
        """What is wrong with each query that failed last, by channel."""
        return {channel: runner.failure for channel, runner in self._runners.items() if runner.failure is not None}

    def touched(self, tables: set[int]) -> None:
        """A transaction that wrote to these tables has committed."""
        if not tables:
            return
        for runner in self._runners.values():
            if not tables.isdisjoint(runner.query.tables):
                runner.change()

    async def follow(self, queries: Sequence[LiveQuery]) -> None:
        """These are declared now; new and replaced ones run at once. The nodes know them before their first result."""
        if self._ended:
            return
        wanted = {query.channel: query for query in queries}
        known = {channel: runner.query.version for channel, runner in self._runners.items()}
        for channel in known.keys() - wanted.keys():
            await self._stop(channel)
            self._metrics.forget_live_query(channel)
        fresh = [query for query in queries if known.get(query.channel) != query.version]
        missing: set[str] = set()
        self._declared, self._followed = sorted(wanted), True
        with contextlib.suppress(RedisAway):
            await self._declare()
            missing = await self._redis.without_stream([query.channel for query in fresh])
        for query in fresh:
            if query.channel in self._runners:
                await self._stop(query.channel)
            if self._ended:
                return
            runner = _Runner(query, self._runs, self._slots, self._metrics, self._on_result)
            if query.channel in missing:
                runner.looked(there=False)
            self._runners[query.channel] = runner
            self._tasks[query.channel] = asyncio.create_task(runner.keep(), name=f"live query {query.channel}")

    async def run(self) -> None:
        """See, for ever, that Redis has each query's newest result. Ends all runs when it is cancelled."""
        try:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                with contextlib.suppress(RedisAway):
                    if self._followed:
                        await self._declare()
                    missing = await self._redis.without_stream(sorted(self._runners))
                    for channel, runner in self._runners.items():
                        runner.looked(there=channel not in missing)
        finally:
            self._ended = True
            await end(*self._tasks.values())
            self._runners.clear()

    async def _declare(self) -> None:
        async with self._declaring:  # an older list that came later would drop what is there
            await self._redis.declare_live_queries(self.term, self._declared)

    async def _stop(self, channel: str) -> None:
        self._runners.pop(channel)
        await end(self._tasks.pop(channel))


class _Runner:
    """One query. Its `keep` never ends by itself."""

    def __init__(
        self,
        query: LiveQuery,
        runs: Runs,
        slots: asyncio.Semaphore,
        metrics: Metrics,
        on_result: Callable[[], None],
    ) -> None:
        self.query = query
        self.failure: str | None = None
        self._runs = runs
        self._slots = slots
        self._metrics = metrics
        self._on_result = on_result
        self._schedule = Schedule(query.throttle, query.every)
        self._news = asyncio.Event()
        self._digest = query.digest
        self._again = False
        self._patience = LOOK_SECONDS
        self._published_at = -inf
        self._gone = False
        self._began = -inf
        self._unreported = 0
        self._reported_at = -inf
        metrics.live_query_errors.labels(query.channel)

    def change(self) -> None:
        """Run soon."""
        self._schedule.change()
        self._news.set()

    def looked(self, *, there: bool) -> None:
        """Whether Redis has a result. If it has lost it, publish it whether it changed or not."""
        if there:
            self._patience = LOOK_SECONDS
        elif not self._again and monotonic() - self._published_at > self._patience * 0.9:
            self._patience = min(AGAIN_MOST, self._patience * 2)
            self._again = True
            self.change()

    async def keep(self) -> None:
        """Run when it is due, for ever. Only cancellation ends it."""
        while True:
            wait = self._schedule.due() - monotonic()
            if self._gone or wait > 0:
                self._news.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(None if self._gone or wait == inf else wait):
                        await self._news.wait()
                continue
            async with self._slots:
                await self._run()

    async def _run(self) -> None:
        self._began = monotonic()
        self._schedule.start(self._began)
        try:
            await self._try()
        except QueryFailed as failed:
            await self._fail(str(failed))
        except RunsAway as away:
            self._schedule.fail(monotonic())
            if self._schedule.failures == 1:
                log.warning("the database does not run live queries", channel=self.query.channel, reason=str(away))
        except Exception as mistake:
            # Ours. It must not keep this query from its next run, nor any other.
            log.exception("live query failed", channel=self.query.channel)
            await self._fail(f"internal error: {mistake!r}")

    async def _try(self) -> None:
        query, again = self.query, self._again
        ran = await self._runs.run(query, None if again else self._digest)
        if ran is None:
            self._gone = True  # until `follow` hears of it
            return
        self._unreported += 1
        self._metrics.live_query_seconds.observe(ran.seconds)
        if ran.result is None:
            self._metrics.live_query_runs.labels(query.channel, "unchanged").inc()
            if self.failure is not None or monotonic() - self._reported_at > REPORT_SECONDS:
                await self._runs.report(query, self._unreported, ran.at, ran.seconds, None)
                self._reported()
        else:
            self._digest = None  # should nobody know whether it was published, it is published once more
            if not await self._runs.publish(query, ran, self._unreported):
                self._gone = True
                return
            self._on_result()
            self._metrics.live_query_runs.labels(query.channel, "changed").inc()
            self._digest = ran.digest
            self._published_at = monotonic()
            self._reported()
            if again:
                self._again = False
        if self.failure is not None:
            log.info("live query runs again", channel=query.channel)
            self.failure = None
        self._schedule.end(monotonic(), ran.clock)

    async def _fail(self, failure: str) -> None:
        seconds = monotonic() - self._began
        self._schedule.fail(monotonic())
        self._metrics.live_query_errors.labels(self.query.channel).inc()
        if failure != self.failure:
            log.warning("live query fails; its last result stands", channel=self.query.channel, reason=failure)
            self.failure = failure
        self._unreported += 1
        with contextlib.suppress(RunsAway):
            await self._runs.report(self.query, self._unreported, None, seconds, failure)
            self._reported()

    def _reported(self) -> None:
        self._unreported = 0
        self._reported_at = monotonic()
