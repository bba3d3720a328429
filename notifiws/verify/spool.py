"""A history on disk: a run records for hours in bounded memory, and the checker reads it as often as it likes.

A folder of files, each a row of records: four bytes of length, then MessagePack. One writer, no locks.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, Final

import msgspec

from notifiws.verify.history import (
    Commit,
    Event,
    Fault,
    Record,
    Tick,
    Truth,
    Who,
)
from notifiws.verify.history import Final as FinalRow

_LENGTH: Final = struct.Struct("<I")
# Events remembered so that each is written about once: twice as many are known at most.
_GENERATION: Final = 50_000


class _Writer:
    """Appends records to one file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=1 << 16)
        self._encode = msgspec.msgpack.Encoder().encode

    def write(self, record: Any) -> None:
        data = self._encode(record)
        self._file.write(_LENGTH.pack(len(data)) + data)

    def close(self) -> None:
        self._file.close()


def _read(path: Path, kind: Any) -> Iterator[Any]:
    decode = msgspec.msgpack.Decoder(kind).decode
    if not path.exists():
        return
    with path.open("rb") as file:
        while len(head := file.read(4)) == 4:
            yield decode(file.read(_LENGTH.unpack(head)[0]))


class Log:
    """What one client asks and hears."""

    def __init__(self, who: Who, path: Path, spool: "Spool") -> None:
        self.who = who
        self._writer: _Writer | None = _Writer(path)
        self._spool = spool

    @property
    def now(self) -> float:
        """Seconds since the run began."""
        return self._spool.now

    def write(self, record: Record) -> None:
        """Append. After `close` nothing is: the run is over."""
        if self._writer is not None:
            self._writer.write(record)

    def heard(self, event: Event) -> None:
        """An event, as this client was told of it."""
        self._spool.heard(event)

    def close(self) -> None:
        """No more from this client."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class Spool:
    """Records while the run runs; then it is the History that the checker reads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._began = monotonic()
        self._events = _Writer(folder / "events")
        self._commits = _Writer(folder / "commits")
        self._logs: dict[Who, tuple[Path, Log]] = {}
        self._new: dict[int, Event] = {}
        self._old: dict[int, Event] = {}
        self.faults: list[Fault] = []
        self.seconds = 0.0
        self._closed = False
        # For the progress view only.
        self.committed = self.delivered = 0

    @property
    def now(self) -> float:
        """Seconds since the run began."""
        return monotonic() - self._began

    def begin(self) -> None:
        """The run begins now."""
        self._began = monotonic()

    def client(self, who: Who) -> Log:
        """The log of a new client. Names are unique."""
        path = self._folder / f"client-{len(self._logs)}"
        log = Log(who, path, self)
        self._logs[who] = path, log
        return log

    def committed_at(self, tx: int, began: float, returned: float) -> None:
        """A writer was told that its transaction is done."""
        self.committed += 1
        self._commits.write(Commit(tx, began, returned))

    def heard(self, event: Event) -> None:
        """Write an event down, unless the very same was lately."""
        self.delivered += 1
        known = self._new.get(event.id) or self._old.get(event.id)
        if known == event:
            return
        self._events.write(event)
        self._new[event.id] = event
        if len(self._new) >= _GENERATION:
            self._old, self._new = self._new, {}

    @contextmanager
    def truth(self, kind: str) -> Iterator[Callable[[Any], None]]:
        """The tables' part, at the end: `truths`, `finals`, `ticks`; takes rows in the order of the record's fields."""
        writer = _Writer(self._folder / kind)
        try:
            yield writer.write
        finally:
            writer.close()

    def close(self) -> None:
        """The recording is over. Again: nothing."""
        if self._closed:
            return
        self._closed = True
        self.seconds = self.now
        self._events.close()
        self._commits.close()
        for _, log in self._logs.values():
            log.close()
        self._new.clear()
        self._old.clear()

    # History

    @property
    def clients(self) -> Sequence[Who]:
        """See History."""
        return list(self._logs)

    def truths(self) -> Iterable[Truth]:
        """See History."""
        return _read(self._folder / "truths", Truth)

    def finals(self) -> Iterable[FinalRow]:
        """See History."""
        return _read(self._folder / "finals", FinalRow)

    def ticks(self) -> Iterable[Tick]:
        """See History."""
        return _read(self._folder / "ticks", Tick)

    def commits(self) -> Iterable[Commit]:
        """See History."""
        return _read(self._folder / "commits", Commit)

    def events(self) -> Iterable[Event]:
        """See History."""
        return _read(self._folder / "events", Event)

    def records(self, client: Who) -> Iterator[Record]:
        """See History."""
        return _read(self._logs[client][0], Record)
