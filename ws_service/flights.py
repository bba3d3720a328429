"""Reads that many want at once are made once: who resumes where another did a moment ago gets the same page.

After a node has died, thousands come back with nearly the same position. Readers of one channel take turns; whoever's
position lies inside a page that was just read is answered from it, so that after one page all of them ask for the same
next one. Only chained publications are kept, for moments: they are history and do not change. That nothing lies beyond
a position is never answered from here.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Final

from shared.position import Position
from shared.publication import Publication

KEEP_SECONDS: Final = 2.0
# Of all channels together, the oldest go first.
KEEP_BYTES: Final = 32_000_000


class _Kept:
    """One page: it continues `start`, and ends with its last publication."""

    __slots__ = ("channel", "publications", "size", "start", "until")

    def __init__(self, channel: Hashable, start: Position, publications: Sequence[Publication], until: float) -> None:
        self.channel = channel
        self.start = start
        self.publications = publications
        self.size = sum(len(publication.data) for publication in publications)
        self.until = until

    def beyond(self, at: Position) -> Sequence[Publication]:
        """What of it lies beyond a position inside; empty for others."""
        end = self.publications[-1].position
        if at.epoch != end.epoch or at < self.start or at >= end:
            return ()
        return [publication for publication in self.publications if publication.position > at]


class Flights:
    """Shared reads of pages. `channel` may be any key for one order of publications."""

    def __init__(self, on_shared: Callable[[], None] = lambda: None) -> None:
        self._on_shared = on_shared
        self._kept: OrderedDict[int, _Kept] = OrderedDict()
        self._by_channel: dict[Hashable, list[_Kept]] = {}
        self._turns: dict[Hashable, tuple[asyncio.Lock, list[None]]] = {}
        self.bytes = 0

    async def read(
        self, channel: Hashable, at: Position, load: Callable[[], Awaitable[Sequence[Publication]]]
    ) -> tuple[Sequence[Publication], bool]:
        """Publications beyond `at`, and whether they were read for this call. Raises what `load` raises."""
        if found := self._find(channel, at):
            return found, False
        lock, users = self._turns.setdefault(channel, (asyncio.Lock(), []))
        users.append(None)
        try:
            async with lock:
                if found := self._find(channel, at):
                    return found, False
                found = await load()
                self._keep(channel, at, found)
                return found, True
        finally:
            users.pop()
            if not users:
                self._turns.pop(channel, None)

    def _find(self, channel: Hashable, at: Position) -> Sequence[Publication]:
        for kept in reversed(self._by_channel.get(channel, ())):
            if found := kept.beyond(at):
                self._on_shared()
                return found
        return ()

    def _keep(self, channel: Hashable, at: Position, publications: Sequence[Publication]) -> None:
        end = at
        for publication in publications:
            if publication.prev.epoch != end.epoch or publication.prev > end:
                return  # a hole may be filled by the time of the next reader
            end = publication.position
        if not publications:
            return
        loop = asyncio.get_running_loop()
        kept = _Kept(channel, at, publications, loop.time() + KEEP_SECONDS)
        self._kept[id(kept)] = kept
        self._by_channel.setdefault(channel, []).append(kept)
        self.bytes += kept.size
        while self.bytes > KEEP_BYTES and len(self._kept) > 1:
            self._drop(next(iter(self._kept.values())))
        loop.call_later(KEEP_SECONDS, self._drop, kept)

    def _drop(self, kept: _Kept) -> None:
        if self._kept.pop(id(kept), None) is None:
            return
        self.bytes -= kept.size
        others = self._by_channel[kept.channel]
        others.remove(kept)
        if not others:
            del self._by_channel[kept.channel]
