"""The channel's stream in Redis: reading what was published, in bounded pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from redis.asyncio import Redis

from shared.keys import Keys
from shared.logs import logger
from shared.position import Position
from shared.publication import BadPublication, Publication
from ws_service.metrics import NodeMetrics

# A page is about this many bytes, judged by the page before; a single publication may be larger.
_PAGE_BYTES: Final = 1_000_000
_FIRST_PAGE: Final = 8
_LARGEST_PAGE: Final = 512


@dataclass(frozen=True, slots=True)
class Page:
    """Publications in a row. `last`: nothing lay beyond when it was read."""

    publications: Sequence[Publication]
    last: bool


@dataclass(frozen=True, slots=True)
class Mark:
    """All ticks up to `tick` are wholly published; of those up to `floor` Redis may have lost something."""

    tick: int
    floor: int


class _Said(msgspec.Struct):
    """Of the heartbeat: what the leader knows of what Redis has lost."""

    epoch: str
    floor: int = 0
    reseeding: bool = False


class History:
    """All reads of streams. Raises REDIS_ERRORS."""

    def __init__(self, client: Redis, keys: Keys, metrics: NodeMetrics) -> None:
        self._client = client
        self._keys = keys
        self._metrics = metrics
        self._log = logger("history")

    async def head(self, channel: str, epoch: str) -> Position:
        """The last position in the channel's stream; the origin when there is none."""
        entries: Any = await self._client.xrevrange(self._keys.stream(channel, epoch), count=1)
        return Position.of_entry(epoch, entries[0][0].decode()) if entries else Position.origin(epoch)

    async def mark(self, epoch: str) -> Mark | None:
        """What the relay has completed, by Redis' own memory: it forgets it together with what it loses."""
        raw: Any = await self._client.get(self._keys.published)
        of, tick, floor = raw.decode().split(":") if raw else ("", "0", "0")
        return Mark(int(tick), int(floor)) if of == epoch else None

    async def rebuilding(self, at: Position) -> bool:
        """Whether what Redis lost beyond a position is being put back by the leader, or may be."""
        mark = await self.mark(at.epoch)
        if mark is None:
            return True  # just emptied: the leader says within moments what comes of it
        raw: Any = await self._client.get(self._keys.relay)
        if mark.floor < at.tick:
            return raw is None
        try:
            said = msgspec.json.decode(raw or b"null", type=_Said | None)
        except (msgspec.MsgspecError, RecursionError):
            return False
        # A floor that the heartbeat has not heard of is younger than the heartbeat.
        return said is None or (said.epoch == at.epoch and (said.reseeding or said.floor < mark.floor))

    async def first(self, channel: str, epoch: str) -> Publication | None:
        """The oldest publication that is kept."""
        entries = await self._client.xrange(self._keys.stream(channel, epoch), count=1)
        found = self._decode(entries)
        return found[0] if found else None

    def forward(self, channel: str, epoch: str) -> "Pager":
        """Pages from a position on."""
        return Pager(self, channel, epoch, forward=True)

    def backward(self, channel: str, epoch: str) -> "Pager":
        """Pages from a position back, newest publication first."""
        return Pager(self, channel, epoch, forward=False)

    async def page(self, channel: str, at: Position | None, epoch: str, count: int, *, forward: bool) -> Page:
        """Up to `count` publications beyond (before) `at`; None: from the beginning (end)."""
        stream = self._keys.stream(channel, epoch)
        bound = f"({at.entry_id}" if at else ("-" if forward else "+")
        entries: Any
        if forward:
            entries = await self._client.xrange(stream, min=bound, count=count)
        else:
            entries = await self._client.xrevrange(stream, max=bound, count=count)
        return Page(self._decode(entries), len(entries) < count)

    def _decode(self, entries: Any) -> list[Publication]:
        found = []
        for entry_id, fields in entries:
            try:
                found.append(Publication(fields[b"p"]))
            except (BadPublication, KeyError) as error:
                # Left out, it is a hole in the chain, which clients are told of.
                self._metrics.publications.labels("bad").inc()
                self._log.error("unreadable publication in a stream", entry=entry_id.decode(), error=repr(error))
        self._metrics.publications.labels("stream").inc(len(found))
        return found


class Pager:
    """Reads page after page, each about as large as is good for memory."""

    def __init__(self, history: History, channel: str, epoch: str, *, forward: bool) -> None:
        self._history = history
        self._channel = channel
        self._epoch = epoch
        self._forward = forward
        self._count = _FIRST_PAGE

    async def read(self, at: Position | None) -> Page:
        """The page beyond (before) `at`."""
        page = await self._history.page(self._channel, at, self._epoch, self._count, forward=self._forward)
        if page.publications:
            mean = sum(len(publication.data) for publication in page.publications) / len(page.publications)
            self._count = max(1, min(_LARGEST_PAGE, self._count * 4, int(_PAGE_BYTES / mean)))
        return page
