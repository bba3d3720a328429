"""A large publication that Redis does not take: is it the publication, or Redis? No I/O.

Redis full, read-only or loading refuses small writes too, and is waited for. What it refuses again and again while it
takes small writes before and after each attempt, it will never take as it is (longer than its proto-max-bulk-len, more
than its maxmemory leaves): that would hold up all channels for ever.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from listener_service.ports import Append

# Redis' least proto-max-bulk-len. What is smaller is refused for Redis' own sake.
LARGE: Final = 1_000_000
ROUNDS: Final = 3


def large(append: Append) -> bool:
    """Whether an append has to be sent alone, so that its failure can be told from others'."""
    return len(append.data) > LARGE


def in_turn(appends: Sequence[Append]) -> Iterator[Sequence[Append]]:
    """The same in the same order, each large one alone."""
    start = 0
    for number, append in enumerate(appends):
        if large(append):
            if number > start:
                yield appends[start:number]
            yield appends[number : number + 1]
            start = number + 1
    if start < len(appends):
        yield appends[start:]


class Trial:
    """Of one publication, from its first failure on."""

    def __init__(self, append: Append, now: float, patience: float) -> None:
        """`now` here and below: seconds of a clock that never goes back. It lasts at least `patience`."""
        self._about = append.channel, append.position
        self._until = now + patience
        self._rounds = 0

    def is_about(self, append: Append) -> bool:
        """Whether it is the same publication."""
        return self._about == (append.channel, append.position)

    def failed(self, now: float) -> bool:
        """It failed once more, and Redis took a small write before and after. True: it is the publication."""
        self._rounds += 1
        return self._rounds >= ROUNDS and now >= self._until
