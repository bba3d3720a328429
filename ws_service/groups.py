"""Subscriptions that get the same messages share a group, so that these are built once. No I/O.

A group's shape says what a publication looks like to its members: the `events` frame of `notifiws.v1`, or the plain
endpoint's one message an event. Filters become further shapes.
"""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from shared.codes import CloseCode, Lost
from shared.logs import logger
from shared.position import Position
from shared.publication import Publication
from ws_service import frames
from ws_service.connection import Connection

_log = logger("groups")


class Shape(Protocol):
    """How members of a group see a channel. Hashable: equal shapes are one group."""

    def messages(self, publication: Publication, after: Position) -> Iterable[bytes]:
        """The messages of what lies beyond `after`."""

    def standstill(self, channel: str, head: Position, position: Position) -> bytes | None:
        """What is said when nothing happened, if anything is."""


@dataclass(frozen=True, slots=True)
class Frames:
    """`notifiws.v1` without a filter: the listener's own bytes."""

    def messages(self, publication: Publication, after: Position) -> Iterable[bytes]:
        """One frame; cut when `after` lies inside the publication."""
        return (publication.frame_after(after),)

    def standstill(self, channel: str, head: Position, position: Position) -> bytes | None:
        """An empty `events` frame."""
        return frames.standstill(channel, head, position)


@dataclass(frozen=True, slots=True)
class Plain:
    """The plain endpoint: one message an event. `ops`: None for all."""

    format: Literal["payload", "event"] = "payload"
    ops: frozenset[str] | None = None

    def messages(self, publication: Publication, after: Position) -> Iterable[bytes]:
        """A message for each event that passes `ops`."""
        for event in publication.events(after):
            if self.ops is None or event.op in self.ops:
                if self.format == "event":
                    yield event.standalone(publication.channel)
                else:
                    yield event.plain(publication.channel)

    def standstill(self, channel: str, head: Position, position: Position) -> bytes | None:
        """Plain clients expect events and nothing else."""
        return None


@dataclass(frozen=True, slots=True)
class ServerSent:
    """`GET /sse/{channel}`: one server-sent event an event."""

    def messages(self, publication: Publication, after: Position) -> Iterable[bytes]:
        """A `message` for each event; of a publication without any, where the channel stands."""
        if not publication.count:
            yield frames.server_sent("position", b"", publication.position)
        for event in publication.events(after):
            yield frames.server_sent("message", event.standalone(publication.channel), event.position)

    def standstill(self, channel: str, head: Position, position: Position) -> bytes | None:
        """The position alone, so that a client that comes back has the newest one."""
        return frames.server_sent("position", b"", position)


class Member(Protocol):
    """A subscription as the hub knows it."""

    @property
    def connection(self) -> Connection:
        """Where its messages go."""

    @property
    def wanted(self) -> bool:
        """Whether the client still wants events, and its connection is open."""

    def reset(self, reason: Lost, position: Position) -> None:
        """Tell the client that history is broken, and where events go on."""


class Group:
    """The members of one shape in one channel, and what this turn of the loop has for them."""

    __slots__ = ("_pending", "members", "shape")

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.members: dict[Member, None] = {}
        self._pending: list[bytes] = []

    def add(self, publication: Publication, after: Position) -> bool:
        """Build the messages of a publication. True: there is something to flush."""
        self._pending.extend(self.shape.messages(publication, after))
        return bool(self._pending)

    def say(self, message: bytes) -> None:
        """Add a message of the node's own."""
        self._pending.append(message)

    def flush(self) -> tuple[int, int]:
        """Write what is pending to every member, each with one write. Returns (messages, bytes) of one member."""
        if not self._pending:
            return 0, 0
        batch = tuple(self._pending)
        self._pending.clear()
        for member in tuple(self.members):
            try:
                member.connection.write(batch)
            except Exception:
                # Never a silent gap: not for this client, which comes back and resumes, nor for those behind it.
                _log.exception("cannot write to a connection")
                with contextlib.suppress(Exception):
                    member.connection.close(CloseCode.INTERNAL, "internal error; reconnect and resume")
        return len(batch), sum(map(len, batch))
