"""Where a client stands in a channel: `<epoch>:<tick>-<event id>`.

Minted by Postgres alone. Opaque to clients; inside one epoch positions sort by tick, then event id; across epochs
there is no order, so comparing them is an error here and never a wrong answer.
"""

import re
from dataclasses import dataclass
from typing import Final, Self

MAX_INT: Final = 2**63 - 1
_MATCH: Final = re.compile(r"([a-z0-9]{1,32}):(0|[1-9][0-9]{0,18})-(0|[1-9][0-9]{0,18})", re.ASCII).fullmatch


class BadPosition(ValueError):
    """A text that is no position. Clients get `bad_position`."""

    def __init__(self, text: object) -> None:
        # Only a string is repeated: the text of a deeply nested value is itself deeply recursive.
        what = repr(text[:80]) if isinstance(text, str) else f"a {type(text).__name__}"
        super().__init__(f"{what} is not a position; send one that a frame of this server carried")


@dataclass(frozen=True, slots=True)
class Position:
    """A place between two events of one epoch: everything up to and with (tick, event) is behind it."""

    epoch: str
    tick: int
    event: int

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read a position as a client sent it. Raises BadPosition."""
        match = _MATCH(text) if isinstance(text, str) else None
        if match is None:
            raise BadPosition(text)
        tick, event = int(match[2]), int(match[3])
        if tick > MAX_INT or event > MAX_INT:
            raise BadPosition(text)
        return cls(match[1], tick, event)

    @classmethod
    def origin(cls, epoch: str) -> Self:
        """The head of a channel that nothing was ever published to."""
        return cls(epoch, 0, 0)

    @classmethod
    def of_entry(cls, epoch: str, entry_id: str) -> Self:
        """The position that a stream entry's id (`<tick>-<event id>`) stands for."""
        tick, _, event = entry_id.partition("-")
        return cls(epoch, int(tick), int(event))

    @property
    def entry_id(self) -> str:
        """This position as a stream entry's id."""
        return f"{self.tick}-{self.event}"

    @property
    def order(self) -> tuple[int, int]:
        """The sort key inside one epoch."""
        return (self.tick, self.event)

    def __str__(self) -> str:
        return f"{self.epoch}:{self.tick}-{self.event}"

    def __lt__(self, other: "Position") -> bool:
        return self._same_epoch(other) and self.order < other.order

    def __le__(self, other: "Position") -> bool:
        return self._same_epoch(other) and self.order <= other.order

    def __gt__(self, other: "Position") -> bool:
        return self._same_epoch(other) and self.order > other.order

    def __ge__(self, other: "Position") -> bool:
        return self._same_epoch(other) and self.order >= other.order

    def _same_epoch(self, other: "Position") -> bool:
        if self.epoch != other.epoch:
            raise ValueError(f"positions of two epochs have no order: {self} and {other}")
        return True
