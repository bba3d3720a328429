"""What the relay asks of the world: the log, Redis and the doorbell, as it sees them. No driver is imported here.

The adapters are `log.py`, `publisher.py` and `doorbell.py`; the tests' fakes pass the same suites as they do.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from shared.event import LogRow
from shared.position import Position


class LeadershipLost(Exception):
    """The session that holds the leader lock is gone or does not answer: no ticks any more, another may lead."""


class Overtaken(LeadershipLost):
    """Redis holds a later tick than ours: another leader has published since, or the log is an earlier one."""


class RedisAway(Exception):
    """Redis did not take it, or nobody knows whether it did. The message says why and what mends it.

    Trying the same again is always safe: an append names the head that it expects.
    """


class RedisChanged(RedisAway):
    """This Redis is not the one that answered `begin`, or has been restarted: it may not hold what that one took."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A durable cut of the log."""

    number: int
    at: datetime

    @property
    def cut_us(self) -> int:
        """When it was cut, in microseconds since 1970, by the database's clock."""
        return round(self.at.timestamp() * 1_000_000)


@dataclass(frozen=True, slots=True)
class Cut:
    """A new tick with its rows in id order. `rows` None: too many or too large for one answer, page through them."""

    tick: Tick
    rows: Sequence[LogRow] | None


class Window(NamedTuple):
    """Ticks from `first` to the last one. `horizon`: the last that is not kept. `epoch_tick`: the epoch's origin."""

    first: int
    horizon: int
    epoch_tick: int


class Log(Protocol):
    """The log, through the very session that holds the leader lock. Every method may raise LeadershipLost."""

    async def last_tick(self) -> Tick | None:
        """The newest tick that has events, None when nothing was ever cut."""

    async def cut(self) -> Cut | None:
        """Make what has become visible since the last tick the next one, durably. None: nothing has, nothing changed.

        Never call it before the last tick is wholly published.
        """

    def pages(self, tick: Tick, after: int) -> AbstractAsyncContextManager[AsyncIterator[Sequence[LogRow]]]:
        """The tick's rows beyond event id `after`, in id order, in pages of bounded memory. The same on every call.

        Holds a snapshot while it is open: leave it when a page has to wait.
        """

    async def window(self, seconds: float) -> Window:
        """The ticks that were cut in the last so many seconds, as far as they are kept."""

    async def tick(self, number: int) -> Tick | None:
        """One of them; None: not kept any more."""

    async def adopt(self, payloads: Sequence[tuple[str, str]]) -> None:
        """Write adopted (channel, payload) pairs into the log, in this order."""

    async def confirm(self) -> None:
        """Return if the session still answers, so that the lock was still held when this was called."""


class Append(NamedTuple):
    """One publication on its way into a stream. It is written only if the stream's last entry is `expected`."""

    channel: str
    expected: Position
    position: Position
    data: bytes


class Outcome(NamedTuple):
    """`written` and the new head, or not and the head that was found (the origin for a missing stream)."""

    written: bool
    head: Position


class Mark(NamedTuple):
    """What Redis is told when a tick is wholly published. `floor`: Redis is known to have lost something of the ticks
    up to that one (0: of none), so heads read from it may be earlier than the truth.
    """

    tick: int
    floor: int = 0


class Publisher(Protocol):
    """Redis. Every method may raise RedisAway."""

    async def begin(self) -> Mark | None:
        """Tell the nodes the epoch, before anything of it is published; returns what was last marked in it.

        From then on appends and marks are for the Redis that answered this, and for no later incarnation of it.
        """

    async def renew(self) -> Mark | None:
        """The same after RedisChanged or RedisAway, but for the epoch."""

    async def append(self, appends: Sequence[Append]) -> list[Outcome]:
        """Append to the streams and publish to subscribers, each append atomically, in this order.

        Raises RedisChanged where Redis is another incarnation; some of them may be written even so.
        """

    async def mark(self, mark: Mark, *, after: int = 0, mended: bool = False) -> None:
        """Note that a tick is wholly published. Comes after all its appends and before the next cut.

        A mark behind the present one changes nothing. `after`: the tick that is marked already, 0 where that is not
        known; a Redis that does not know it was emptied, which is RedisChanged, too. `mended`: what lay between two
        floors is there again, so that of the same tick may go down. After RedisChanged nothing is marked.
        """

    async def marked(self) -> Mark | None:
        """What was last marked in this epoch. Behind what was completed: Redis has lost its newest writes."""

    async def probe(self) -> None:
        """Return if Redis takes a small write: tells a Redis in trouble from a publication that is too large."""


class Doorbell(Protocol):
    """How writers wake a sleeping relay. No method raises: without its connection nobody sleeps."""

    async def fall_asleep(self) -> bool:
        """Ask writers to ring from now on. False: a writer is at work or we are deaf, stay awake and poll.

        After True every silent writer has ended and is visible: cut once more, then wait. Rings heard before this
        returned are forgotten.
        """

    async def wait(self, seconds: float) -> None:
        """Return when somebody rings, an adopted payload arrives, `stop` is called, or after `seconds`."""

    def wake_up(self) -> None:
        """Tell writers to stay silent again. Returns at once."""
