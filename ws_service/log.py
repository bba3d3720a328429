"""The log behind the Redis window: pages of one channel, from rows as the listener builds them. No I/O of its own.

A page is answered only if it is whole: the reader has reached its end, and retention had not reached its beginning, by
then and after reading. What lies where is seen from the ticks' snapshots; a channel's few events in a wide stretch of
ticks cost one question, a tick of a million events is read window by window. How to ask is `reader.py`'s business.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, TypeVar

from shared.event import encode_event
from shared.position import MAX_INT, Position
from shared.publication import Publication, encode, split
from ws_service.metrics import NodeMetrics
from ws_service.ports import Asker, Cut, Key, LogAway, LogRefused, Questions, State

# Events and bytes of a page; one larger event goes alone.
PAGE_EVENTS: Final = 1_000
PAGE_BYTES: Final = 1_000_000
# Ticks that one question looks through: few at first, more while nothing is found.
_FIRST_TICKS: Final = 64
_MOST_TICKS: Final = 4_096
# A search that found nothing for so long says how far it came.
_SEARCH_SECONDS: Final = 4.0
_Answer = TypeVar("_Answer")


class Found(NamedTuple):
    """An event of the channel and the tick that it belongs to."""

    cut: Cut
    key: Key

    @property
    def order(self) -> tuple[int, int]:
        """The sort key of its position."""
        return (self.cut.number, self.key.id)


class Oldest(NamedTuple):
    """Where what is kept begins. `complete`: the epoch has lost nothing before it."""

    position: Position
    complete: bool


class Log:
    """Reads one channel at a time. Without a reader nothing is there. Every method may raise LogAway."""

    def __init__(self, reader: Asker | None, metrics: NodeMetrics) -> None:
        self._reader = reader
        self._metrics = metrics
        # What was last found to be gone: that need not be asked again by all who want it.
        self._gone: State | None = None

    @property
    def kept(self) -> bool:
        """Whether this node may ask a log at all."""
        return self._reader is not None

    async def page(self, channel: str, after: Position, until: Position) -> Sequence[Publication] | None:
        """Publications beyond `after` as far as `until`, the first of which continues `after`; None: not kept.

        Never empty where `after` < `until`: where there is no event, an empty publication says how far that is so.
        """

        if self._gone is not None and after.epoch == self._gone.epoch and not _readable(after, self._gone):
            self._metrics.history.labels("log", "expired").inc()
            return None

        async def question(session: Questions) -> Sequence[Publication] | None:
            state = await session.state()
            if not _readable(after, state):
                self._gone = state
                return None
            _reached(until, state)
            found, reached = await self._search(session, channel, after, until, state)
            publications = await _built(session, channel, after, found)
            # Asked again outside of what was read: retention may have emptied a slot meanwhile.
            if not _readable(after, await session.state()):
                return None
            end = publications[-1].position if publications else after
            if not publications and reached <= after:
                raise LogAway(f"ticks after {after} are missing")
            if end < reached and (not publications or reached == until):
                cut_us = publications[-1].cut_us if publications else 0
                publications.append(Publication(encode(channel, end, reached, cut_us, ())))
            return publications

        return await self._ask(question)

    async def oldest(self, epoch: str) -> Oldest | None:
        """Where the log begins; None: there is none of this epoch."""

        async def question(session: Questions) -> Oldest | None:
            state = await session.state()
            return _oldest(state) if state.epoch == epoch else None

        return await self._ask(question)

    async def at_time(self, epoch: str, earliest_us: float) -> Oldest | None:
        """The position before the first tick that was cut at or after that time (µs since 1970)."""

        async def question(session: Questions) -> Oldest | None:
            state = await session.state()
            if state.epoch != epoch:
                return None
            low, high = state.horizon + 1, state.last + 1
            while low < high:
                middle = (low + high) // 2
                cuts = await session.cuts(middle, middle)
                if cuts and cuts[0].at.timestamp() * 1e6 >= earliest_us:
                    high = middle
                else:
                    low = middle + 1
            if low == state.horizon + 1:
                return _oldest(state)
            return Oldest(Position(epoch, low, 0), True)

        return await self._ask(question)

    async def back(self, channel: str, before: Position, count: int) -> Oldest | None:
        """The position before the last `count` events up to `before`, or where the log begins if it has less."""

        async def question(session: Questions) -> Oldest | None:
            state = await session.state()
            if state.epoch != before.epoch:
                return None
            _reached(before, state)
            start = await self._count_back(session, channel, before, count, state)
            again = await session.state()
            if again.epoch != state.epoch:
                return None
            if start is None or not _readable(start, again):
                return _oldest(again)
            return Oldest(start, True)

        return await self._ask(question)

    async def close(self) -> None:
        """Drop what is open."""
        if self._reader is not None:
            await self._reader.close()

    async def _ask(self, question: Callable[[Questions], Awaitable[_Answer | None]]) -> _Answer | None:
        if self._reader is None:
            return None
        count = self._metrics.history
        try:
            async with self._reader.session() as session:
                answer = await question(session)
        except LogRefused:
            count.labels("log", "refused").inc()
            return None
        except LogAway:
            count.labels("log", "away").inc()
            raise
        count.labels("log", "expired" if answer is None else "read").inc()
        return answer

    async def _search(
        self, session: Questions, channel: str, after: Position, until: Position, state: State
    ) -> tuple[Sequence[Found], Position]:
        """A page's events by position, and up to where that is all."""
        epoch, end = after.epoch, _last_tick(until)
        deadline = asyncio.get_running_loop().time() + _SEARCH_SECONDS
        position, ticks = after, _FIRST_TICKS
        while True:
            first, inside = _next_tick(position, state)
            last = first if inside else min(first + ticks - 1, end)
            if first > end:
                return [], until
            cuts = await session.cuts(first - 1, last)
            if len(cuts) != last - first + 2:
                # Truncated since; what was promised is looked at again by the caller.
                return [], position
            up_to = until.event if first == last == until.tick else MAX_INT
            ask = partial(session.keys, cuts[0].snapshot, cuts[-1].snapshot, channel, limit=PAGE_EVENTS + 1)
            keys = await ask(after=inside, up_to=up_to)
            if len(keys) > PAGE_EVENTS and last > first:
                ticks = max(1, (last - first + 1) // 4)
                continue
            share = PAGE_EVENTS - 1
            while len(keys) > PAGE_EVENTS:
                # Those that came, mostly the lowest, and all below the last of them; then the lower half.
                up_to = sorted(key.id for key in keys)[share]
                keys = await ask(after=inside, up_to=up_to)
                share = PAGE_EVENTS // 2
            found = [each for each in _assign(keys, cuts) if after.order < each.order <= until.order]
            found.sort(key=lambda each: each.order)
            whole = Position(epoch, last, up_to) if first == last and up_to < MAX_INT else Position(epoch, last + 1, 0)
            position = min(whole, until)
            if found:
                page = _fitting(found)
                return page, position if len(page) == len(found) else Position(epoch, *page[-1].order)
            if position == until or asyncio.get_running_loop().time() > deadline:
                return [], position
            ticks = min(ticks * 4, _MOST_TICKS)

    async def _count_back(
        self, session: Questions, channel: str, before: Position, count: int, state: State
    ) -> Position | None:
        deadline = asyncio.get_running_loop().time() + 2 * _SEARCH_SECONDS
        last, ticks = _last_tick(before), _FIRST_TICKS
        while last > state.horizon:
            first = max(last - ticks + 1, state.horizon + 1)
            cuts = await session.cuts(first - 1, last)
            if len(cuts) != last - first + 2:
                return None
            s1, s2 = cuts[0].snapshot, cuts[-1].snapshot
            if first == last:
                below = before.event + 1 if last == before.tick and before.event < MAX_INT else MAX_INT
                keys = await session.last_keys(s1, s2, channel, before=below, limit=count)
            else:
                keys = await session.keys(s1, s2, channel, after=0, up_to=MAX_INT, limit=PAGE_EVENTS + 1)
                if len(keys) > PAGE_EVENTS:
                    ticks = max(1, ticks // 4)
                    continue
            found = sorted(each.order for each in _assign(keys, cuts) if each.order <= before.order)
            if len(found) >= count:
                tick, event = found[-count]
                return Position(before.epoch, tick, event - 1)
            count -= len(found)
            last = first - 1
            ticks = min(ticks * 4, _MOST_TICKS)
            if asyncio.get_running_loop().time() > deadline:
                raise LogAway("a search back through the log took too long")
        return None


def _readable(after: Position, state: State) -> bool:
    """Whether all that follows is still there. The horizon where the epoch began: nothing of it was ever lost."""
    return after.epoch == state.epoch and (
        state.horizon == state.epoch_tick or after.tick > state.horizon or after.order == (state.horizon, MAX_INT)
    )


def _reached(until: Position, state: State) -> None:
    """Raise LogAway where the reader, a standby perhaps, is not there yet."""
    if _last_tick(until) > state.last:
        raise LogAway(f"the reader is at tick {state.last} and has not reached {until}; is it a standby that lags?")


def _oldest(state: State) -> Oldest:
    if state.horizon == state.epoch_tick:
        return Oldest(Position.origin(state.epoch), True)
    return Oldest(Position(state.epoch, state.horizon + 1, 0), False)


def _last_tick(until: Position) -> int:
    """The last tick of which something lies at or before this position."""
    return until.tick if until.event else until.tick - 1


def _next_tick(position: Position, state: State) -> tuple[int, int]:
    """Where to read on: the tick, and behind which of its events (0: it begins there)."""
    tick, inside = (position.tick + 1, 0) if position.event == MAX_INT else (position.tick, position.event)
    return (tick, inside) if tick > state.horizon else (state.horizon + 1, 0)


def _assign(keys: Sequence[Key], cuts: Sequence[Cut]) -> list[Found]:
    """Each event belongs to the first tick in whose snapshot its transaction is visible."""
    snapshots = [_Snapshot(cut.snapshot) for cut in cuts]
    index: dict[str, int] = {}
    for key in keys:
        if key.tx not in index:
            tx = int(key.tx)
            index[key.tx] = bisect_left(snapshots, True, lo=1, key=lambda snapshot: snapshot.sees(tx))
    return [Found(cuts[index[key.tx]], key) for key in keys]


class _Snapshot:
    """A `pg_snapshot` as text: `xmin:xmax:xip,xip`."""

    __slots__ = ("_running", "_xmax", "_xmin")

    def __init__(self, text: str) -> None:
        xmin, xmax, running = text.split(":")
        self._xmin, self._xmax = int(xmin), int(xmax)
        self._running = frozenset(map(int, running.split(","))) if running else frozenset()

    def sees(self, tx: int) -> bool:
        """Whether this transaction was over."""
        return tx < self._xmin or (tx < self._xmax and tx not in self._running)


def _fitting(found: Sequence[Found]) -> Sequence[Found]:
    size = 0
    for number, each in enumerate(found):
        size += each.key.bytes
        if number and size > PAGE_BYTES:
            return found[:number]
    return found


async def _built(session: Questions, channel: str, after: Position, found: Sequence[Found]) -> list[Publication]:
    """The listener's own bytes, event by event; how many go into one publication is not part of any promise."""
    rows = {row.id: row for row in await session.rows([each.key for each in found])} if found else {}
    by_tick: dict[int, list[Found]] = {}
    for each in found:
        by_tick.setdefault(each.cut.number, []).append(each)
    publications: list[Publication] = []
    prev = after
    for number, events in by_tick.items():
        cut_us = round(events[0].cut.at.timestamp() * 1_000_000)
        try:
            encoded = [encode_event(rows[each.key.id]) for each in events]
        except KeyError as error:
            # Truncated between two questions, or an op of a newer release.
            raise LogAway(f"an event of tick {number} cannot be read: {error}") from error
        for part in split(encoded):
            position = Position(after.epoch, number, part[-1].id)
            publications.append(Publication(encode(channel, prev, position, cut_us, part)))
            prev = position
    return publications
