"""What one client got: when each row arrived first, and everything that must not happen.

Rows are numbered; those below `first` are warm-up and only say that the path is open.
"""

from array import array

import msgspec


class Row(msgspec.Struct):
    """As much of a row as is needed."""

    seq: int


class _Event(msgspec.Struct):
    new: Row


class _Frame(msgspec.Struct):
    """Any frame of `notifiws.v1`; fields that a type does not have stay None."""

    type: str
    position: str | None = None
    prev: str | None = None
    events: list[_Event] = []
    code: str | None = None
    message: str | None = None


_row = msgspec.json.Decoder(Row)
_frame = msgspec.json.Decoder(_Frame)


def place(position: str) -> tuple[str, int, int]:
    """A position as (epoch, tick, event)."""
    epoch, _, rest = position.partition(":")
    tick, _, event = rest.partition("-")
    return epoch, int(tick), int(event)


class Receipts:
    """Of one client, for rows `first` to `first + rows - 1`."""

    def __init__(self, first: int, rows: int) -> None:
        self.first = first
        self.at = array("d", bytes(8 * rows))  # seconds since 1970; 0: did not come
        self.got = 0
        self.duplicated = 0
        self.foreign = 0
        self.gaps = 0
        self.refused: str | None = None
        self.warm = False
        self.last = 0.0  # when anything came last
        self._position: str | None = None

    def plain(self, payload: bytes, at: float) -> None:
        """A frame that is the row itself."""
        self._row(_row.decode(payload).seq, at)
        self.last = at

    def v1(self, payload: bytes, at: float) -> None:
        """A frame of `notifiws.v1`."""
        frame = _frame.decode(payload)
        if frame.type == "events":
            if frame.prev != self._position:
                self._check_gap(frame.prev)
            self._position = frame.position
            for event in frame.events:
                self._row(event.new.seq, at)
            self.last = at
        elif frame.type == "subscribed":
            self._position = frame.position
        elif frame.type in ("error", "reset", "unsubscribed"):
            self.refused = f"{frame.type} {frame.code or ''} {frame.message or ''}".strip()

    def _check_gap(self, prev: str | None) -> None:
        """The contract's rule: a gap exists exactly if `prev` is beyond where we stand."""
        if prev is None or self._position is None:
            return
        ours, theirs = place(self._position), place(prev)
        if ours[0] != theirs[0] or theirs > ours:
            self.gaps += 1

    def _row(self, seq: int, at: float) -> None:
        index = seq - self.first
        if index < 0:
            self.warm = True
        elif index >= len(self.at):
            self.foreign += 1
        elif self.at[index]:
            self.duplicated += 1
        else:
            self.at[index] = at
            self.got += 1
