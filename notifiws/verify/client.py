"""A `notifiws.v1` client as the protocol page describes one: it applies frames, remembers its positions, resumes.

It judges nothing. What it asks and hears goes into its log, and the checker judges that.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import WebSocketException

from notifiws.verify.history import Asked, Ended, Event, Frame, Place, Reset, Subscribed, Waited, place_of, written
from notifiws.verify.spool import Log

_OPEN_SECONDS: Final = 4.0
# A half-open or frozen node is left after this long without a pong.
_PING_SECONDS: Final = 4.0
_INSIDE: Final = 20  # frames remembered, for resumes inside one
_STAMPS: Final = 4_000


class Row(msgspec.Struct, gc=False):
    """A row, or a payload, as far as verify reads it."""

    id: int | None = None
    version: int | None = None
    stamp: int | None = None
    note: str = ""


class Said(msgspec.Struct, gc=False):
    """An event."""

    id: int
    op: str
    tx: str
    new: Row | None = None
    old: Row | None = None
    payload: Row | None = None
    channel: str = ""
    position: str = ""

    def event(self, channel: str, place: Place) -> Event:
        """As the history keeps it. `place`: of its frame."""
        row = self.new or self.payload or self.old or Row()
        return Event(
            self.id,
            channel,
            place[0],
            place[1],
            self.op,
            int(self.tx),
            row.stamp or 0,
            row.id,
            row.version,
            len(row.note),
        )


class _Message(msgspec.Struct, gc=False):
    """Any frame of the server."""

    type: str
    channel: str = ""
    position: str = ""
    prev: str | None = None
    head: str = ""
    recovered: bool | None = None
    reason: str | None = None
    code: str = ""
    message: str = ""
    events: list[Said] = []


_decode: Final = msgspec.json.Decoder(_Message).decode


@dataclass(frozen=True)
class Node:
    """Where a client may connect."""

    name: str
    url: str  # http://host:port


class Listener:
    """What all kinds of clients have in common: a log, positions, and who waits for which change."""

    def __init__(self, log: Log, where: Callable[[], Node], channels: Sequence[str]) -> None:
        self.log = log
        self.where = where
        self.channels = channels
        self.places: dict[str, Place | None] = dict.fromkeys(channels)
        self.changed = asyncio.Event()
        # When events last came.
        self.heard_at = 0.0
        # A client that is away stays away until this is set again.
        self.wanted = asyncio.Event()
        self.wanted.set()
        self._stamps: dict[str, deque[int]] = {channel: deque(maxlen=_STAMPS) for channel in channels}

    def heard(self, channel: str, prev: Place | None, place: Place, events: Sequence[Said]) -> None:
        """Events of one tick: into the log, and the position moves."""
        log = self.log
        stamps = self._stamps[channel]
        for said in events:
            event = said.event(channel, place)
            log.heard(event)
            stamps.append(event.stamp)
        self.heard_at = log.now
        log.write(Frame(self.heard_at, channel, prev, place, [said.id for said in events]))
        self.places[channel] = place

    async def wait(self, channel: str, stamp: int, seconds: float) -> bool:
        """Wait until the change with this stamp has come. What is waited for must come: the checker holds us to it."""
        came = True
        try:
            async with asyncio.timeout(seconds):
                while stamp not in self._stamps[channel]:
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            came = False
        self.log.write(Waited(self.log.now, channel, stamp, seconds, came))
        return came


class Client(Listener):
    """Connects for ever, to whatever node `where` names; `run` it as a task."""

    def __init__(
        self,
        log: Log,
        where: Callable[[], Node],
        channels: Sequence[str],
        chance: Random,
        *,
        rewind: int | str | None = None,
    ) -> None:
        """`rewind`: how far back to begin, in events or as a duration."""
        super().__init__(log, where, channels)
        self.live = asyncio.Event()
        self._chance = chance
        self._begin: dict[str, Any] = {} if rewind is None else {"rewind": rewind}
        self._recent: deque[tuple[str, Place, list[int]]] = deque(maxlen=_INSIDE)
        self._connection: ClientConnection | None = None
        self._pending: set[str] = set()

    def drop(self) -> None:
        """Cut the connection without a word, as a train in a tunnel does."""
        if self._connection is not None:
            self._connection.transport.abort()

    def step_back(self) -> None:
        """Take an earlier position, inside a frame if there is one: as a client that did not store the last one."""
        if self._recent:
            channel, place, ids = self._chance.choice(self._recent)
            self.places[channel] = (place[0], place[1], self._chance.choice(ids))
            self._recent.clear()

    async def run(self) -> None:
        """For ever."""
        while True:
            await self.wanted.wait()
            node = self.where()
            why = "closed"
            try:
                async with connect_websocket(
                    node.url.replace("http", "ws", 1) + "/ws",
                    subprotocols=["notifiws.v1"],  # type: ignore[list-item]
                    compression=None,
                    max_size=None,
                    open_timeout=_OPEN_SECONDS,
                    close_timeout=0.5,
                    ping_interval=_PING_SECONDS,
                    ping_timeout=_PING_SECONDS,
                    proxy=None,
                ) as self._connection:
                    await self._converse(self._connection, node)
                why = f"closed with {self._connection.close_code}"
            except (OSError, WebSocketException, TimeoutError) as error:
                why = f"{type(error).__name__}: {error}"
            finally:
                self._connection = None
                self.live.clear()
            self.log.write(Ended(self.log.now, why[:120]))
            await asyncio.sleep(self._chance.uniform(0.02, 0.2))

    async def _converse(self, connection: ClientConnection, node: Node) -> None:
        self._pending = set(self.channels)
        for number, channel in enumerate(self.channels, 1):
            frame: dict[str, Any] = {"type": "subscribe", "id": number, "channel": channel}
            place = self.places[channel]
            frame |= self._begin if place is None else {"since": written(place)}
            # Before it is sent: what comes back must not be older in the log than the question.
            self.log.write(Asked(self.log.now, channel, place, node.name))
            await connection.send(msgspec.json.encode(frame).decode())
        async for message in connection:
            if not self._take(_decode(message)):
                return

    def _take(self, frame: _Message) -> bool:
        """Apply a frame. False: leave this connection."""
        log, channel = self.log, frame.channel
        match frame.type:
            case "events":
                place = place_of(frame.position)
                self.heard(channel, place_of(frame.prev) if frame.prev else None, place, frame.events)
                if frame.events:
                    self._recent.append((channel, place, [said.id for said in frame.events]))
            case "subscribed":
                place, head = place_of(frame.position), place_of(frame.head)
                log.write(Subscribed(log.now, channel, place, head, frame.recovered, frame.reason))
                self.places[channel] = place
                self._pending.discard(channel)
                if not self._pending:
                    self.live.set()
            case "reset":
                place = place_of(frame.position)
                log.write(Reset(log.now, channel, place, frame.reason or ""))
                self.places[channel] = place
                self._recent.clear()
            case "error":
                # Redis is away, say: whoever cannot subscribe now tries elsewhere.
                log.write(Ended(log.now, f"error {frame.code}: {frame.message}"[:120]))
                return False
            case _:
                return True
        self.changed.set()
        return True


@contextlib.asynccontextmanager
async def running(client: Client) -> Any:
    """A client that runs inside this block."""
    task = asyncio.create_task(client.run())
    try:
        yield client
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        client.log.close()
