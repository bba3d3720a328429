"""The node's Redis side: which channels are followed, and the repair of what pub/sub did not bring.

Pub/sub is at most once. A feed that finds a gap, or whose subscription was confirmed (again), is read from the stream
until nothing lies beyond its head; a hole there that the log cannot fill, or a new epoch, is told to everyone attached.
Redis away: feeds keep their place, clients stay connected, and the reading goes on when it is back.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from time import time
from typing import Any, Final

import msgspec
from redis.asyncio import Redis

from shared.backoff import backoff
from shared.codes import Lost, Unready
from shared.keys import Keys
from shared.logs import logger
from shared.position import Position
from shared.publication import BadPublication, Publication
from shared.readiness import Readiness
from shared.tasks import end
from ws_service.feed import Feed, Sink
from ws_service.history import Page
from ws_service.metrics import NodeMetrics
from ws_service.ports import LogAway
from ws_service.pubsub import PubSub, Topic
from ws_service.redis_link import REDIS_ERRORS, why_away
from ws_service.retained import AWAY, Gone, Retained

# A channel that its last subscriber left is followed a little longer: a page reload comes right back.
LINGER_SECONDS: Final = 10.0
_REFRESH_SECONDS: Final = 2.0
_DECLARED_SECONDS: Final = 1.0
_REPAIRS_AT_ONCE: Final = 8
# How long a gap waits for a log that went away; then it is told.
_LOG_SECONDS: Final = 15.0


class LiveQueries(msgspec.Struct):
    """Which channels carry a live query."""

    channels: list[str]


class Heartbeat(msgspec.Struct):
    """What the relay's leader says every second."""

    epoch: str
    tick: int = 0
    at_ms: int = 0
    lag_seconds: float = 0.0


@dataclass(slots=True)
class _Followed:
    feed: Feed
    topic: Topic
    repair: asyncio.Task[None] | None = None
    linger: asyncio.TimerHandle | None = None


class TooManyChannels(Exception):
    """This node follows as many channels as it may."""

    fix = "subscribe to fewer channels, or raise NOTIFIWS_MAX_CHANNELS on the node"


class Broker:
    """`join` and `leave` channels at any time; `keep_fresh` and the pub/sub connection run as tasks beside it."""

    def __init__(
        self,
        client: Redis,
        keys: Keys,
        *,
        pubsub: PubSub,
        retained: Retained,
        sink: Sink,
        readiness: Readiness,
        metrics: NodeMetrics,
        most: int = 20_000,
    ) -> None:
        self._client = client
        self._most = most
        self._keys = keys
        self._pubsub = pubsub
        self._retained = retained
        self._sink = sink
        self._readiness = readiness
        self._metrics = metrics
        self._log = logger("broker")
        self._followed: dict[str, _Followed] = {}
        self._lingering: dict[str, None] = {}
        self._repairs = asyncio.Semaphore(_REPAIRS_AT_ONCE)
        self._reading = asyncio.Lock()
        self._asking: asyncio.Task[None] | None = None
        self._refresh = asyncio.Event()
        self._refreshed: list[asyncio.Future[None]] = []
        self.epoch: str | None = None
        self.declared: frozenset[str] = frozenset()
        # Those of them that carry a live query, whose newest event is its result.
        self.live_queries: frozenset[str] = frozenset()
        # Called with a channel whose live query was dropped.
        self.on_dropped: Callable[[str], None] = lambda channel: None
        self.heartbeat: Heartbeat | None = None
        pubsub.follow(Topic(keys.relay, self._on_heartbeat))
        pubsub.on_probe = self._refresh.set

    def join(self, channel: str) -> Feed:
        """Follow a channel. Each `join` needs its `leave`. Raises TooManyChannels."""
        followed = self._followed.get(channel)
        if followed is None:
            if len(self._followed) >= self._most:
                self._make_room()
            feed = Feed(channel, self._sink)
            topic = Topic(
                self._keys.live(channel),
                lambda data: self._on_message(channel, data),
                lambda: self._on_confirmed(channel),
                feed.deafen,
            )
            followed = self._followed[channel] = _Followed(feed, topic)
            self._pubsub.follow(topic)
            self._metrics.channels.set(len(self._followed))
        if followed.linger:
            followed.linger.cancel()
            followed.linger = None
            del self._lingering[channel]
        followed.feed.users += 1
        return followed.feed

    def leave(self, feed: Feed) -> None:
        """Undo one `join`."""
        feed.users -= 1
        followed = self._followed.get(feed.channel)
        if feed.users == 0 and followed is not None and followed.feed is feed:
            loop = asyncio.get_running_loop()
            followed.linger = loop.call_later(LINGER_SECONDS, self._forget, feed.channel)
            self._lingering[feed.channel] = None

    async def is_declared(self, channel: str) -> bool:
        """Whether anything writes to this channel. Asks Redis, if it answers, before it says no; once a second at most.

        All who ask at the same time wait for one answer: whoever subscribes to nothing must not make us read the list
        again and again.
        """
        if channel not in self.declared:
            if self._asking is None:
                self._asking = asyncio.create_task(self._ask_for_channels(), name="declared channels")
            await asyncio.shield(self._asking)
        return channel in self.declared

    async def carries_result(self, channel: str) -> bool:
        """Whether the channel's newest event is a live query's result, which a new subscriber gets at once."""
        return channel in self.live_queries or (await self.is_declared(channel) and channel in self.live_queries)

    def feeds(self) -> list[Feed]:
        """Those that are followed now."""
        return [followed.feed for followed in self._followed.values()]

    async def close(self) -> None:
        """Stop repairing."""
        for followed in self._followed.values():
            if followed.linger:
                followed.linger.cancel()
        running = [followed.repair for followed in self._followed.values() if followed.repair]
        if self._asking is not None:
            running.append(self._asking)
        await end(*running)
        self._followed.clear()

    def _make_room(self) -> None:
        """Forget the channel that has been without subscribers for longest. Raises TooManyChannels."""
        if not self._lingering:
            raise TooManyChannels(f"this node follows {self._most} channels, as many as it may")
        self._forget(next(iter(self._lingering)))

    def _forget(self, channel: str) -> None:
        followed = self._followed.pop(channel)
        del self._lingering[channel]
        if followed.linger:
            followed.linger.cancel()
        if followed.repair:
            followed.repair.cancel()
        self._pubsub.forget(followed.topic)
        self._metrics.channels.set(len(self._followed))

    # What arrives

    def _on_message(self, channel: str, data: bytes) -> None:
        followed = self._followed[channel]
        try:
            publication = Publication(data)
        except BadPublication as error:
            self._metrics.publications.labels("bad").inc()
            self._log.error("unreadable publication", channel=channel, error=str(error))
            followed.feed.suspect()
            self._repair(followed)
            return
        self._metrics.publications.labels("live").inc()
        if not followed.feed.receive(publication):
            self._repair(followed)

    def _on_confirmed(self, channel: str) -> None:
        followed = self._followed[channel]
        followed.feed.confirm()
        self._repair(followed)

    def _on_heartbeat(self, data: bytes) -> None:
        try:
            self.heartbeat = msgspec.json.decode(data, type=Heartbeat)
        except (msgspec.MsgspecError, RecursionError):
            self._log.warning("unreadable heartbeat")
            return
        self._metrics.lag.set(self.heartbeat.lag_seconds)
        self._metrics.heartbeat.set(time())
        self._refresh.set()

    # Repair

    def _repair(self, followed: _Followed) -> None:
        if followed.repair is None or followed.repair.done():
            if followed.feed.head is not None:
                self._metrics.gaps.inc()
            followed.repair = asyncio.create_task(self._mend(followed.feed), name=f"repair {followed.feed.channel}")

    async def _mend(self, feed: Feed) -> None:
        """Read until the feed is live. Runs while Redis is away, too; dies only with its feed."""
        attempt = 0
        away_since: float | None = None
        now = asyncio.get_running_loop().time
        while not feed.live:
            try:
                await self._read(feed, give_up=away_since is not None and now() - away_since > _LOG_SECONDS)
                attempt, away_since = 0, None
                if not feed.confirmed:
                    return  # the next confirmation starts it again
            except AWAY as error:
                attempt += 1
                if isinstance(error, LogAway):
                    away_since = away_since or now()
                self._log.warning("cannot read history", channel=feed.channel, error=str(error), attempt=attempt)
                await asyncio.sleep(backoff(attempt, most=2.0))
            except Exception:
                # A feed whose repair died would be silent for ever.
                attempt += 1
                self._log.exception("repair failed", channel=feed.channel)
                await asyncio.sleep(backoff(attempt, first=1.0))

    async def _read(self, feed: Feed, *, give_up: bool) -> None:
        """One look, to the stream's end. `give_up`: a gap that only the log could fill is a hole."""
        confirmations = feed.confirmations
        if feed.foreign:
            feed.foreign = False
            await self.refresh_epoch()
        epoch = self.epoch or await self._wait_for_epoch()
        if feed.head is None or feed.head.epoch != epoch:
            # Turns are for the stream alone: a log that is slow must not hold up channels that need none.
            async with self._repairs:
                head = await self._retained.head(feed.channel, epoch)
            feed.begin(head, None if feed.head is None else Lost.EPOCH)
        pull = self._retained.forward(feed.channel, epoch, self._repairs)
        while True:
            at = feed.head
            assert at is not None
            # Heard of before the read begins, so it must be in the stream.
            behind = feed.behind
            page: Page | None
            try:
                page = await pull.read(at, behind)
            except Gone:
                page = None
            except LogAway:
                if not give_up:
                    raise
                page = None
            if feed.foreign:
                return
            whole = page is not None and feed.apply(page.publications)
            if page is not None and page.publications and not (whole and page.last and feed.behind is None):
                continue
            if not whole or (behind is not None and behind == feed.behind):
                await self._hole(feed, behind, epoch)
            if feed.settle(confirmations) or not feed.confirmed or confirmations != feed.confirmations:
                return

    async def _hole(self, feed: Feed, behind: Position | None, epoch: str) -> None:
        """Trimmed, or lost by Redis: what lay between cannot be had any more."""
        head = await self._retained.head(feed.channel, epoch)
        if behind is not None and behind.epoch == epoch and head < behind:
            head = behind
        assert feed.head is not None
        if feed.head < head:
            self._log.warning("history is gone", channel=feed.channel, stood=str(feed.head), now=str(head))
            feed.begin(head, Lost.EXPIRED)

    # Epoch and declared channels

    async def keep_fresh(self) -> None:
        """Know the epoch and the declared channels, for ever. Run it as a task."""
        attempt = 0
        while True:
            try:
                await self.refresh_epoch()
                await self._read_channels()
                attempt = 0
            except REDIS_ERRORS as error:
                attempt += 1
                self._readiness.unready(Unready.REDIS, why_away(error))
            self._refresh.clear()
            try:
                async with asyncio.timeout(_REFRESH_SECONDS if not attempt else backoff(attempt, most=2.0)):
                    await self._refresh.wait()
            except TimeoutError:
                pass

    async def refresh_epoch(self) -> None:
        """Ask Redis for the epoch. Feeds of another one are read anew. Raises REDIS_ERRORS."""
        raw: Any = await self._client.get(self._keys.epoch)
        epoch = raw.decode() if raw else None
        if epoch is None:
            if self.epoch is None:
                self._readiness.unready(
                    Unready.STARTING, "no listener has published to this Redis yet; start one: notifiws listener"
                )
            return
        if epoch != self.epoch:
            self._log.info("epoch", epoch=epoch, before=self.epoch)
            self.epoch = epoch
            for followed in self._followed.values():
                if followed.feed.head is not None and followed.feed.head.epoch != epoch:
                    followed.feed.suspect()
                    self._repair(followed)
        if self._pubsub.proven:
            self._readiness.clear(Unready.STARTING)
        waiting, self._refreshed = self._refreshed, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def _wait_for_epoch(self) -> str:
        while self.epoch is None:
            future = asyncio.get_running_loop().create_future()
            self._refreshed.append(future)
            await future
        return self.epoch

    async def _ask_for_channels(self) -> None:
        """Read the list for all who ask now; it counts for a second, during which nobody asks anew."""
        try:
            with contextlib.suppress(*REDIS_ERRORS):
                await self._read_channels()
        finally:
            asyncio.get_running_loop().call_later(_DECLARED_SECONDS, self._forget_asking)

    def _forget_asking(self) -> None:
        self._asking = None

    async def _read_channels(self) -> None:
        # Both before either counts: whoever finds a channel declared must find its live query, too.
        # One at a time: an older answer that came later would drop what is there.
        async with self._reading:
            raw = await self._client.get(self._keys.channels)
            live = await self._client.get(self._keys.live_queries)
            try:
                declared = self.declared if raw is None else frozenset(msgspec.json.decode(raw, type=list[str]))
                carrying = self.live_queries if live is None else msgspec.json.decode(live, type=LiveQueries).channels
            except (msgspec.MsgspecError, RecursionError):
                self._log.warning("unreadable list of channels")
                return
            dropped, self.live_queries = self.live_queries.difference(carrying), frozenset(carrying)
            self.declared = (declared - dropped) | self.live_queries
        for channel in dropped:
            self._log.info("live query dropped", channel=channel)
            self.on_dropped(channel)
