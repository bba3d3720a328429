"""What a run recorded: the truth from the tables, and all that clients asked and heard. Data only.

The checker reads it and nothing else. `Recorded` keeps it in memory, for tests; `spool.py` keeps it on disk, for runs.
Times are seconds since the run began, of one monotonic clock.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

# Epoch, tick, event id: a position, taken apart.
Place = tuple[str, int, int]


def place_of(position: str) -> Place:
    """Take a position as clients get it apart. Raises ValueError."""
    epoch, _, rest = position.partition(":")
    tick, _, event = rest.partition("-")
    return epoch, int(tick), int(event)


def written(place: Place | None) -> str:
    """The position again, for people."""
    return "–" if place is None else f"{place[0]}:{place[1]}-{place[2]}"


# The truth


class Truth(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One change that was committed, as a row trigger of verify's own wrote it down in the same transaction.

    `stamp` is given to one change only; a `delete` has the stamp of the row's last one. `number` is the order in which
    the changes were made, `statement` tells the statements of a transaction apart. `snapshot` is what the change could
    see of others, as Postgres writes it.
    """

    number: int
    tx: int
    statement: int
    snapshot: str
    channel: str
    op: str
    stamp: int
    row: int | None
    version: int | None
    size: int


class Final(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A row as it stood in its table at the end."""

    channel: str
    row: int
    version: int
    stamp: int


class Tick(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The snapshot up to which the log was cut by this tick."""

    number: int
    snapshot: str


class Commit(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """When a writer began to commit a transaction, and when it was told that it is done."""

    tx: int
    began: float
    returned: float


# What clients heard


class Event(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What an event said, written down when it was new to the recorder (so perhaps more than once)."""

    id: int
    channel: str
    epoch: str
    tick: int
    op: str
    tx: int
    stamp: int
    row: int | None
    version: int | None
    size: int


class Asked(msgspec.Struct, array_like=True, frozen=True, tag="a", gc=False):
    """The client asked `node` for a channel, from `since` on or from the head."""

    at: float
    channel: str
    since: Place | None
    node: str


class Subscribed(msgspec.Struct, array_like=True, frozen=True, tag="s", gc=False):
    """The answer. `recovered` None: nothing was to be recovered."""

    at: float
    channel: str
    place: Place
    head: Place
    recovered: bool | None
    reason: str | None


class Frame(msgspec.Struct, array_like=True, frozen=True, tag="f", gc=False):
    """Events of one tick, by their ids. `prev` None: this way of listening has none."""

    at: float
    channel: str
    prev: Place | None
    place: Place
    ids: list[int]


class Reset(msgspec.Struct, array_like=True, frozen=True, tag="r", gc=False):
    """The client was told to fetch afresh; events go on from `place`."""

    at: float
    channel: str
    place: Place
    reason: str


class Ended(msgspec.Struct, array_like=True, frozen=True, tag="e", gc=False):
    """The connection is over: its close code, or why there was none."""

    at: float
    why: str


class Waited(msgspec.Struct, array_like=True, frozen=True, tag="w", gc=False):
    """The client waited for the change with this stamp, and it came or did not come."""

    at: float
    channel: str
    stamp: int
    seconds: float
    came: bool


Record = Asked | Subscribed | Frame | Reset | Ended | Waited


class Fault(msgspec.Struct, frozen=True):
    """What was done to the stack, from `at` to `healed` (the same, or nearly, where nothing lasts)."""

    at: float
    healed: float
    kind: str
    target: str


class Who(msgspec.Struct, frozen=True):
    """A client. `steady`: it was meant to be connected all the time, so recoveries are measured with it."""

    name: str
    way: str
    steady: bool


class History(Protocol):
    """All of a run. Every part may be read more than once."""

    @property
    def faults(self) -> Sequence[Fault]:
        """In any order."""

    @property
    def clients(self) -> Sequence[Who]:
        """Everyone who has a log."""

    def truths(self) -> Iterable[Truth]:
        """In the order of their numbers."""

    def finals(self) -> Iterable[Final]:
        """The tables' rows at the end."""

    def ticks(self) -> Iterable[Tick]:
        """In order."""

    def commits(self) -> Iterable[Commit]:
        """In no order."""

    def events(self) -> Iterable[Event]:
        """In no order, some of them more than once."""

    def records(self, client: Who) -> Iterator[Record]:
        """What one client asked and heard, in order."""


@dataclass
class Recorded:
    """A history in memory."""

    faults: list[Fault] = field(default_factory=list)
    logs: dict[Who, list[Record]] = field(default_factory=dict)
    truth: list[Truth] = field(default_factory=list)
    final: list[Final] = field(default_factory=list)
    tick: list[Tick] = field(default_factory=list)
    commit: list[Commit] = field(default_factory=list)
    event: list[Event] = field(default_factory=list)

    @property
    def clients(self) -> Sequence[Who]:
        """See History."""
        return list(self.logs)

    def truths(self) -> Iterable[Truth]:
        """See History."""
        return self.truth

    def finals(self) -> Iterable[Final]:
        """See History."""
        return self.final

    def ticks(self) -> Iterable[Tick]:
        """See History."""
        return self.tick

    def commits(self) -> Iterable[Commit]:
        """See History."""
        return self.commit

    def events(self) -> Iterable[Event]:
        """See History."""
        return self.event

    def records(self, client: Who) -> Iterator[Record]:
        """See History."""
        return iter(self.logs[client])
