"""All that is kept of the channels: the stream's window in Redis, and the log behind it.

A page comes from the stream; where that leaves a gap after a position, or ends before what was published, the log fills
it up to where the stream goes on. So whoever reads page after page crosses from one to the other without noticing.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from shared.position import Position
from shared.publication import Publication
from ws_service.flights import Flights
from ws_service.history import History, Mark, Page, Pager
from ws_service.log import Log, Oldest
from ws_service.metrics import NodeMetrics
from ws_service.pace import Pace
from ws_service.ports import LogAway
from ws_service.redis_link import REDIS_ERRORS

# What passes, and may be tried again.
AWAY: Final = (*REDIS_ERRORS, LogAway)


class Gone(Exception):
    """What lies beyond a position is neither in the stream nor in the log."""


class Retained:
    """Pages of any channel, read once for all who want them at once. Raises AWAY."""

    def __init__(self, history: History, log: Log, metrics: NodeMetrics) -> None:
        self.history = history
        self.log = log
        self._metrics = metrics
        self.pace = Pace()
        self.flights = Flights(metrics.history.labels("memory", "read").inc)

    def forward(self, channel: str, epoch: str, turns: asyncio.Semaphore | None = None) -> "Pull":
        """Pages from a position on. `turns` bounds those that read streams at the same time."""
        return Pull(self, channel, epoch, turns)

    def backward(self, channel: str, epoch: str) -> Pager:
        """Pages of the stream from a position back, newest publication first."""
        return self.history.backward(channel, epoch)

    async def head(self, channel: str, epoch: str) -> Position:
        """Where the stream ends."""
        return await self.history.head(channel, epoch)

    async def mark(self, epoch: str) -> Mark | None:
        """What the relay has completed."""
        return await self.history.mark(epoch)

    async def oldest(self, channel: str, head: Position) -> Position:
        """Where what is kept of the channel begins; where the log cannot be asked now, what the stream keeps."""
        first = await self.history.first(channel, head.epoch)
        start = head if first is None else first.prev
        try:
            oldest: Oldest | None = await self.log.oldest(head.epoch)
        except LogAway:
            oldest = None
        return start if oldest is None else min(start, oldest.position)


class Pull:
    """Reads page after page of one channel, each about as large as is good for memory."""

    def __init__(self, retained: Retained, channel: str, epoch: str, turns: asyncio.Semaphore | None) -> None:
        self._retained = retained
        self._turns = turns
        self._channel = channel
        self._pager = retained.history.forward(channel, epoch)
        self._last = False

    async def read(self, at: Position, heard: Position | None = None) -> Page:
        """The page beyond `at`. `heard`: what is known to have been published. Raises Gone.

        Empty although `heard` lies beyond: the stream has lost its end, and there is no log to look into.
        """
        flights = self._retained.flights
        publications, own = await flights.read(self._channel, at, lambda: self._from_stream(at))
        if publications and publications[0].prev <= at:
            return Page(publications, own and self._last)
        if not publications and (heard is None or heard <= at):
            return Page((), last=True)
        until = publications[0].prev if publications else heard
        assert until is not None
        try:
            publications, _ = await flights.read(("log", self._channel), at, lambda: self._from_log(at, until))
        except Gone:
            if await self._retained.history.rebuilding(at):
                raise LogAway("Redis has lost it, and the leader puts it back") from None
            if publications:
                raise
            return Page((), last=True)
        return Page(publications, last=False)

    async def _from_stream(self, at: Position) -> Sequence[Publication]:
        async with self._turns or contextlib.nullcontext():
            page = await self._pager.read(at)
        self._last = page.last
        return page.publications

    async def _from_log(self, at: Position, until: Position) -> Sequence[Publication]:
        publications = await self._retained.log.page(self._channel, at, until)
        if publications is None:
            raise Gone
        return publications
