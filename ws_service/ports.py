"""What a node asks of the log, as it sees it. No driver is imported here; the adapter is `reader.py`."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import NamedTuple, Protocol

from shared.event import LogRow


class LogAway(Exception):
    """The log cannot be asked now, or the reader has not reached the place yet. Try again."""


class LogRefused(Exception):
    """The log cannot be asked until somebody mends it: no right to read, no schema, or a wrong one."""


class State(NamedTuple):
    """How far the reader may go. Ticks in (`horizon`, `last`] are there; `epoch_tick` is where the epoch began."""

    schema_version: int
    compatible_from: int
    epoch: str
    horizon: int
    epoch_tick: int
    last: int


class Cut(NamedTuple):
    """A tick and the snapshot up to which it goes."""

    number: int
    at: datetime
    snapshot: str


class Key(NamedTuple):
    """Where an event lies."""

    id: int
    tx: str
    bytes: int


class Questions(Protocol):
    """What is asked of the log. Every method may raise LogAway or LogRefused."""

    async def state(self) -> State:
        """How far the reader may go."""

    async def cuts(self, first: int, last: int) -> list[Cut]:
        """The ticks from one to another, both included."""

    async def keys(self, s1: str, s2: str, channel: str, *, after: int, up_to: int, limit: int) -> list[Key]:
        """Where the channel's events between two snapshots lie, `after` < id <= `up_to`, in no order."""

    async def last_keys(self, s1: str, s2: str, channel: str, *, before: int, limit: int) -> list[Key]:
        """The same of one tick, the last ones before an id, newest first."""

    async def rows(self, keys: Sequence[Key]) -> list[LogRow]:
        """These events, by id."""


class Asker(Protocol):
    """Gives sessions out, a few at a time."""

    def session(self) -> AbstractAsyncContextManager[Questions]:
        """A session; waits for a free one. Raises LogAway, LogRefused."""

    async def close(self) -> None:
        """Drop what is open."""
