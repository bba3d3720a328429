"""Where each channel's stream ends: what this leader knows, and how an answer of Redis corrects it. No I/O.

Two things are kept apart. `former` is the channel's last publication in truth: what the next one names as `prev`.
`redis` is where the stream ends: what the script is told to expect. They differ when Redis has lost something; then
`prev` shows the hole to nodes and clients. Filling it from the log again is `reseed.py`'s.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from listener_service.ports import Overtaken
from shared.position import MAX_INT, Position

# A head costs about 300 bytes. A forgotten one is learned again from Redis, by one refusal.
CAPACITY: Final = 100_000


class Found(Enum):
    """What a refused append revealed."""

    LEARNED = auto()  # the first append to this channel in this leadership: now its head is known
    REPLAYED = auto()  # events of this very tick are already there
    BEHIND = auto()  # the stream ends before what was published: Redis lost something


@dataclass(slots=True)
class Head:
    """One channel. `former` None: not known in this leadership."""

    former: Position | None
    redis: Position
    # What `former` was before the tick that it is in.
    settled: Position | None = None


class Heads:
    """All channels of one epoch, in one leadership."""

    def __init__(self, epoch: str, capacity: int = CAPACITY) -> None:
        self.epoch = epoch
        self._origin = Position.origin(epoch)
        self._capacity = capacity
        self._heads: dict[str, Head] = {}
        self._floor: Position | None = None

    def expected(self, channel: str) -> Position:
        """Where the channel's stream ends, as far as we know."""
        head = self._heads.get(channel)
        return self._origin if head is None else head.redis

    def former(self, channel: str) -> Position:
        """The channel's last publication, or, once Redis is known to have lost something, a position beyond it."""
        head = self._heads.get(channel)
        if head is not None and head.former is not None:
            return head.former
        return self._unknown(self._origin)

    def done(self, channel: str, tick: int) -> int:
        """The last event id of `tick` that is published on the channel, 0 for none. Raises Overtaken."""
        former = self.former(channel)
        if former.tick > tick:
            raise Overtaken(f"channel {channel!r} is at {former}, beyond our tick {tick}")
        return former.event if former.tick == tick else 0

    def written(self, channel: str, position: Position) -> None:
        """An append was written."""
        old = self._heads.pop(channel, None)  # the youngest go to the end
        settled = None
        if old is not None and old.former is not None:
            settled = old.settled if old.former.tick == position.tick else old.former
        self._heads[channel] = Head(position, position, settled)
        if len(self._heads) > self._capacity:
            del self._heads[next(iter(self._heads))]

    def refused(self, channel: str, tick: int, actual: Position) -> Found:
        """An append of `tick` was not written, the stream ends with `actual`. Raises Overtaken."""
        if actual.tick > tick:
            raise Overtaken(f"channel {channel!r} is at {actual}, beyond our tick {tick}")
        head = self._heads.get(channel)
        if actual.tick == tick and (head is None or head.former is None or head.former <= actual):
            self.written(channel, actual)
            return Found.REPLAYED
        if head is None or head.former is None:
            self._heads[channel] = Head(self._unknown(actual), actual)
            return Found.LEARNED
        if actual == head.redis:
            return Found.LEARNED  # a later part of the same channel, refused for the same reason
        head.redis = actual
        if actual < head.former:
            return Found.BEHIND
        head.former = actual
        return Found.LEARNED

    @property
    def floor(self) -> int:
        """The tick up to which Redis is known to have lost something, 0 when it has lost nothing."""
        return 0 if self._floor is None else self._floor.tick

    def distrust(self, completed: int) -> None:
        """Redis has lost something, and ticks up to `completed` were published.

        A head that is read from it from now on may be an earlier one, so the next publication on such a channel
        names as `prev` the end of that tick: a client anywhere before it knows that it may have missed something.
        """
        self._floor = Position(self.epoch, completed, MAX_INT)

    def seeded(self, channel: str, position: Position) -> None:
        """The stream was built anew from the log up to the last publication, which is this one."""
        self.written(channel, position)

    def trust(self, floor: int) -> None:
        """All that was published after tick `floor` is in its stream again (0: all)."""
        self._floor = Position(self.epoch, floor, MAX_INT) if floor else None

    def withdraw(self, tick: int) -> None:
        """Redis may be another one than that which acknowledged what it has of `tick`: nothing of it is published.

        What was published before stays the truth, and where Redis has lost it, it is found BEHIND.
        """
        for channel, head in list(self._heads.items()):
            if head.former is None or head.former.tick < tick:
                continue
            if head.settled is None:
                del self._heads[channel]
            else:
                self._heads[channel] = Head(head.settled, head.settled)

    def _unknown(self, actual: Position) -> Position:
        return actual if self._floor is None or actual > self._floor else self._floor
