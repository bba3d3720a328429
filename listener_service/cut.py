"""Rows of a tick → publications, one chain per channel. No I/O.

A publication holds consecutive events of one channel and tick, at most 500 and 256 KB of frame (one larger event goes
alone). `prev` links each to the channel's former one. What is already published, found after a crash or a lost answer,
is dropped by event, never by part, so parts need not fall on the same borders again. In place of an event that is left
out comes a break of the chain, which tells nodes and clients. Touches are taken out here: they only say which tables
were written to, for the live queries.
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from listener_service.heads import Found, Heads
from listener_service.ports import Append, Outcome, Tick
from shared.event import EncodedEvent, LogRow, encode_event
from shared.position import Position
from shared.publication import MAX_FRAME_BYTES, encode, encode_break, split


class LeftOut(NamedTuple):
    """An event too large for Redis: what its log line says."""

    channel: str
    table: str | None
    key: str | None
    id: int
    bytes: int


class Batch:
    """Rows of one tick on their way to Redis: ask for `appends`, do them, `settle`, until there are none."""

    def __init__(self, tick: Tick, rows: Iterable[LogRow], heads: Heads, given_up: Container[int] = ()) -> None:
        """Rows are in id order. `given_up`: ids of events that were left out already, when the tick was read before.

        Raises KeyError for an op that this release does not know.
        """
        self.tick = tick
        self.events = 0
        self.first_at = tick.at
        # Tables, as live queries number them, that transactions of this tick wrote to.
        self.touched: set[int] = set()
        # Channels with events other than results: written to by hand, if nothing declares them.
        self.written: set[str] = set()
        self._heads = heads
        self._pending: dict[str, list[EncodedEvent]] = {}
        # What the log's reader left out already.
        self.left_out: list[LeftOut] = []
        self._large: dict[int, LeftOut] = {}
        for row in rows:
            self.first_at = min(self.first_at, row.at)
            if row.op == "touch":
                self.touched.add(int(row.key or 0))
                continue
            if row.op != "result":
                self.written.add(row.channel)
            event = encode_event(row)
            if row.id in given_up:
                event = replace(event, data=b"")
            self._pending.setdefault(row.channel, []).append(event)
            self.events += 1
            if row.left_out or len(event.data) > MAX_FRAME_BYTES:  # goes alone, and perhaps not at all
                named = LeftOut(
                    row.channel, row.source, row.key and row.key[:200], row.id, row.left_out or len(event.data)
                )
                if row.left_out:
                    self.left_out.append(named)
                else:
                    self._large[row.id] = named

    @property
    def channels(self) -> set[str]:
        """Channels on which something is still to be published."""
        return set(self._pending)

    def appends(self) -> list[Append]:
        """What is still to be written, as far as is known. Raises Overtaken."""
        appends = []
        epoch, number = self._heads.epoch, self.tick.number
        for channel, events in list(self._pending.items()):
            if done := self._heads.done(channel, number):
                events = [event for event in events if event.id > done]  # noqa: PLW2901
                self._pending[channel] = events
            if not events:
                del self._pending[channel]
                continue
            expected, prev = self._heads.expected(channel), self._heads.former(channel)
            for part in split(events):
                position = Position(epoch, number, part[-1].id)
                if part[-1].data:
                    data = encode(channel, prev, position, self.tick.cut_us, part)
                else:
                    data = encode_break(channel, position, self.tick.cut_us)
                appends.append(Append(channel, expected, position, data))
                expected = prev = position
        return appends

    def leave_out(self, append: Append) -> LeftOut:
        """Publish a break in place of the one large event of `append`."""
        events = self._pending[append.channel]
        place = next(place for place, event in enumerate(events) if event.id == append.position.event)
        events[place] = replace(events[place], data=b"")
        return self._large[events[place].id]

    def settle(self, appends: Sequence[Append], outcomes: Sequence[Outcome]) -> dict[str, Found]:
        """Take in the answers to `appends`; returns what refusals revealed, by channel. Raises Overtaken."""
        found: dict[str, Found] = {}
        for append, outcome in zip(appends, outcomes, strict=True):
            if outcome.written:
                self._heads.written(append.channel, append.position)
            else:
                revealed = self._heads.refused(append.channel, self.tick.number, outcome.head)
                if found.get(append.channel) is not Found.BEHIND:
                    found[append.channel] = revealed
        return found
