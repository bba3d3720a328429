"""A batch of consecutive events of one channel, as it lies in the Redis stream and travels through PUBLISH.

Bytes: a binary header, an index with one record an event, then the exact `notifiws.v1` `events` frame. Nodes forward
the frame without parsing it; the index lets them cut it at a position inside, and take single events and payloads out.
All events of a publication belong to one tick, so an event's position is (tick, its id).

Layout, big endian: magic 4s · epoch length B · channel length B · tick, last event, prev tick, prev event, cut time in
microseconds since 1970 (5 Q) · event count I · epoch · channel · per event: id Q, op B, flags B (1: text payload),
start, end, payload start, payload end (4 I, offsets in the frame; payload 0, 0: the whole event).
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import msgspec

from shared.event import OPS, EncodedEvent
from shared.position import Position

MAGIC: Final = b"NWP1"
# What one publication holds at most; a larger event goes alone.
MAX_EVENTS: Final = 500
MAX_FRAME_BYTES: Final = 256 * 1024
# Channel, two positions and the words of an `events` frame.
_FRAME_HEAD: Final = 360
_HEAD: Final = struct.Struct(">4sBB5QI")
_RECORD: Final = struct.Struct(">QBBIIII")
_TEXT: Final = 1


class BadPublication(ValueError):
    """Bytes that no listener of a compatible release wrote."""


class IndexRecord(NamedTuple):
    """One event's place in the frame."""

    id: int
    op: int
    flags: int
    start: int
    end: int
    payload_start: int
    payload_end: int


def frame(channel: str, prev: Position | None, position: Position, events: Sequence[bytes | memoryview]) -> bytes:
    """An `events` frame of `notifiws.v1` around event objects that are already JSON."""
    return b"".join((_frame_head(channel, prev, position), b",".join(events), b"]}"))


def _frame_head(channel: str, prev: Position | None, position: Position) -> bytes:
    before = "null" if prev is None else f'"{prev}"'
    return f'{{"type":"events","channel":"{channel}","prev":{before},"position":"{position}","events":['.encode()


def encode(channel: str, prev: Position, position: Position, cut_us: int, events: Sequence[EncodedEvent]) -> bytes:
    """The publication's bytes. `position` is that of the last event; `cut_us` the tick's time (µs since 1970)."""
    frame_head = _frame_head(channel, prev, position)
    epoch, name = position.epoch.encode(), channel.encode()
    index = bytearray(len(events) * _RECORD.size)
    start = len(frame_head)
    for number, event in enumerate(events):
        a, b = event.payload
        end = start + len(event.data)
        span = (start + a, start + b) if b else (0, 0)
        _RECORD.pack_into(
            index, number * _RECORD.size, event.id, event.op, _TEXT if event.text else 0, start, end, *span
        )
        start = end + 1
    head = _HEAD.pack(
        MAGIC,
        len(epoch),
        len(name),
        position.tick,
        position.event,
        prev.tick,
        prev.event,
        cut_us,
        len(events),
    )
    # Large events are copied once: a join of one is the event itself.
    return b"".join((head, epoch, name, index, frame_head, b",".join([event.data for event in events]), b"]}"))


def encode_break(channel: str, position: Position, cut_us: int) -> bytes:
    """A publication without events, in place of one that is left out. `prev` is its own position: whoever stands before
    it finds a gap, finds it in the stream too, and so learns that what lay there cannot be had.
    """
    return encode(channel, position, position, cut_us, ())


def split(
    events: Sequence[EncodedEvent], max_events: int = MAX_EVENTS, max_bytes: int = MAX_FRAME_BYTES
) -> list[Sequence[EncodedEvent]]:
    """Cut a channel's events into parts of at most that many events and bytes of frame, none of them empty.

    An event without data is a part of its own.
    """
    parts: list[Sequence[EncodedEvent]] = []
    start, size = 0, _FRAME_HEAD
    for number, event in enumerate(events):
        if number > start and (
            number - start == max_events
            or size + len(event.data) + 1 > max_bytes
            or not (event.data and events[start].data)
        ):
            parts.append(events[start:number])
            start, size = number, _FRAME_HEAD
        size += len(event.data) + 1
    if start < len(events):
        parts.append(events[start:])
    return parts


@dataclass(slots=True)
class PublishedEvent:
    """One event inside a publication, sliced out without parsing."""

    id: int
    op: str
    position: Position
    data: memoryview
    payload: memoryview | None
    text: bool

    def standalone(self, channel: str) -> bytes:
        """The event object as it appears outside `events` frames: with `channel` and `position`."""
        tail = f',"channel":"{channel}","position":"{self.position}"}}'
        return bytes(self.data[:-1]) + tail.encode()

    def plain(self, channel: str) -> bytes:
        """What a plain client in `payload` format gets: the new row, the payload verbatim, else the event object."""
        if self.payload is None:
            return self.standalone(channel)
        if self.text:
            return msgspec.json.decode(self.payload, type=str).encode()
        return bytes(self.payload)


class Publication:
    """A decoded publication. Only the header is read at once; the index when somebody asks for single events."""

    def __init__(self, data: bytes) -> None:
        """Read the header. Raises BadPublication."""
        try:
            magic, epoch_len, channel_len, tick, event, prev_tick, prev_event, cut_us, count = _HEAD.unpack_from(data)
        except struct.error as error:
            raise BadPublication("shorter than a header") from error
        at = _HEAD.size + epoch_len
        self._index_at = at + channel_len
        self._frame_at = self._index_at + count * _RECORD.size
        if magic != MAGIC or self._frame_at >= len(data):
            raise BadPublication("not a publication of this format")
        try:
            epoch = data[_HEAD.size : at].decode("ascii")
            channel = data[at : self._index_at].decode("ascii")
        except UnicodeDecodeError as error:
            raise BadPublication("an epoch or a channel that is not ASCII") from error
        self.data: Final = data
        self.channel: Final = channel
        self.position: Final = Position(epoch, tick, event)
        self.prev: Final = Position(epoch, prev_tick, prev_event)
        self.cut_us: Final[int] = cut_us
        self.count: Final[int] = count

    @cached_property
    def frame(self) -> bytes:
        """The whole `events` frame, as `notifiws.v1` clients get it."""
        return self.data[self._frame_at :]

    @cached_property
    def index(self) -> list[IndexRecord]:
        """Where each event lies in the frame."""
        view = memoryview(self.data)[self._index_at : self._frame_at]
        return [IndexRecord._make(record) for record in _RECORD.iter_unpack(view)]

    def events(self, after: Position | None = None) -> Iterator[PublishedEvent]:
        """The events beyond `after` (all without it), in order."""
        view = memoryview(self.data)[self._frame_at :]
        for record in self.index[self._first_after(after) :]:
            payload = view[record.payload_start : record.payload_end] if record.payload_end else None
            yield PublishedEvent(
                record.id,
                OPS[record.op],
                Position(self.position.epoch, self.position.tick, record.id),
                view[record.start : record.end],
                payload,
                bool(record.flags & _TEXT),
            )

    def frame_after(self, after: Position) -> bytes:
        """The frame for a client that stands at `after`: whole when it stands at or before `prev`, else cut."""
        first = self._first_after(after)
        if first == 0:
            return self.frame
        view = memoryview(self.data)[self._frame_at :]
        rest = [view[record.start : record.end] for record in self.index[first:]]
        return frame(self.channel, after, self.position, rest)

    def _first_after(self, after: Position | None) -> int:
        if after is None or after <= self.prev:
            return 0
        if after.tick < self.position.tick:
            return 0
        if after >= self.position:
            return self.count
        return next((i for i, record in enumerate(self.index) if record.id > after.event), self.count)
