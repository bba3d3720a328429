"""Each second: the leader beats and tells the nodes what they must know, a standby listens for it.

So a Redis that is silent is noticed, and a leader lock that is held by somebody who no longer works.
"""

import asyncio
from collections.abc import Iterable, Sequence
from time import monotonic, time
from typing import Final, Protocol

from listener_service.metrics import Metrics
from listener_service.ports import Mark, RedisAway
from listener_service.relay import Relay
from shared.codes import Unready
from shared.logs import logger
from shared.readiness import Readiness

log = logger("heartbeat")

EVERY: Final = 1.0
# The leader says again, every so many beats, what Redis may have lost.
REPEAT: Final = 10
LAGGING_SECONDS: Final = 10.0
SILENT_SECONDS: Final = 10.0
# Channels that are written to without being declared (emit): so many of them are listed.
MAX_WRITTEN: Final = 10_000


class LeaderKeys(Protocol):
    """What the leader keeps in Redis besides the streams. Every method may raise RedisAway."""

    async def last_beat(self) -> bytes | None:
        """The heartbeat as it was shown last, by whoever leads."""

    async def marked(self) -> Mark | None:
        """See Publisher."""

    async def announce_epoch(self) -> None:
        """Tell the nodes the epoch."""

    async def declare(self, channels: Sequence[str]) -> None:
        """Tell the nodes the channels that something writes to."""

    async def declared(self) -> list[str]:
        """What the nodes were told last."""

    async def beat(self, heartbeat: dict[str, object]) -> None:
        """Show and publish the heartbeat."""


class Heartbeat:
    """One for the process; `lead` and `follow` switch what it says."""

    def __init__(self, keys: LeaderKeys, readiness: Readiness, metrics: Metrics) -> None:
        self._keys = keys
        self._readiness = readiness
        self._metrics = metrics
        self._relay: Relay | None = None
        self._epoch = ""
        self._declared: frozenset[str] = frozenset()
        self._written: dict[str, None] = {}
        self._news = asyncio.Event()
        self._merged = False
        self._heard: bytes | None = None
        self._heard_at = monotonic()
        self.answered = asyncio.Event()

    def lead(self, relay: Relay, epoch: str) -> None:
        """From now on, beat."""
        self._relay, self._epoch = relay, epoch
        self._merged = False
        self._news.set()

    def follow(self) -> None:
        """From now on, only look whether Redis answers."""
        self._relay = None
        self._heard_at = monotonic()

    def declare(self, channels: Iterable[str]) -> None:
        """These channels are watched or adopted."""
        before, self._declared = self._declared, frozenset(channels)
        for channel in before - self._declared:
            self._written.pop(channel, None)  # known from a former leader, and not for being written to by hand
        self._news.set()

    def written(self, channels: Iterable[str]) -> None:
        """Something is published on these channels."""
        for channel in channels:
            if channel not in self._declared and channel not in self._written and len(self._written) < MAX_WRITTEN:
                self._written[channel] = None
                self._news.set()

    async def run(self) -> None:
        """Beat for ever. Only cancellation ends it."""
        beats = 0
        while True:
            news = self._news.is_set()
            self._news.clear()
            try:
                await self._beat(full=news or beats % REPEAT == 0)
                beats += 1
                self.answered.set()
                if self._relay is None or not self._relay.redis_failing:
                    self._readiness.clear(Unready.REDIS)
            except RedisAway as away:
                self._readiness.unready(Unready.REDIS, str(away))
                beats = 0
                if news:
                    self._news.set()
                await asyncio.sleep(EVERY)
                continue
            try:
                async with asyncio.timeout(EVERY):
                    await self._news.wait()
            except TimeoutError:
                pass
            else:
                await asyncio.sleep(0.05)  # a burst of new channels is told once

    async def _beat(self, *, full: bool) -> None:
        relay = self._relay
        if relay is None:
            self._listen(await self._keys.last_beat())
            return
        self._watch_lag(relay)
        if full:
            if not self._merged:
                self.written(await self._keys.declared())
                self._merged = True
            await self._keys.announce_epoch()
            await self._keys.declare(sorted(self._declared | self._written.keys()))
        completed, losses = relay.completed, relay.losses
        relay.check(await self._keys.marked(), completed)
        if relay.losses > losses:
            self._news.set()  # what nodes must know is lost too
        await self._keys.beat(
            {
                "epoch": self._epoch,
                "tick": relay.completed,
                "at_ms": round(time() * 1000),
                "lag_seconds": round(relay.lag, 3),
                "floor": relay.heads.floor,
                "reseeding": relay.reseeding,
            }
        )

    def _listen(self, beat: bytes | None) -> None:
        if beat != self._heard:
            self._heard, self._heard_at = beat, monotonic()
        silent = monotonic() - self._heard_at
        if silent > SILENT_SECONDS:
            self._readiness.unready(
                Unready.LAGGING,
                f"no leader has been heard for {silent:.0f} s, and the leader lock is taken: look for session "
                "'notifiws relay' in pg_stat_activity and end it with pg_terminate_backend",
            )
        else:
            self._readiness.clear(Unready.LAGGING)

    def _watch_lag(self, relay: Relay) -> None:
        self._metrics.lag.set(relay.lag)
        if relay.lag > LAGGING_SECONDS:
            self._readiness.unready(
                Unready.LAGGING,
                f"the newest tick has waited for {relay.lag:.0f} s to be published: a very large transaction, "
                "or Redis does not take it",
            )
        else:
            self._readiness.clear(Unready.LAGGING)
