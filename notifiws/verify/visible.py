"""Which transactions a snapshot sees, and whether one of those comes too late. Snapshots are Postgres' own text."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`xmin:xmax:xip,…`: all before `xmax` are seen but those that ran."""

    xmax: int
    running: tuple[int, ...]

    def sees(self, tx: int) -> bool:
        """Whether it sees what this transaction has done (its own aside)."""
        return tx < self.xmax and tx not in self.running


@lru_cache(maxsize=4096)
def parse(text: str) -> Snapshot:
    """Read Postgres' text of a pg_snapshot."""
    _, xmax, running = text.split(":")
    return Snapshot(int(xmax), tuple(map(int, running.split(","))) if running else ())


class LastPlaces:
    """The last place of each transaction in one order; asked for those that a snapshot sees and that come too late."""

    def __init__(self, last: Mapping[int, int]) -> None:
        self._txs = sorted(last)
        self._size = len(self._txs)
        places = [last[tx] for tx in self._txs]
        # A segment tree of maxima; and the running maximum, which answers nearly always.
        self._tree = [-1] * self._size + places
        for node in range(self._size - 1, 0, -1):
            self._tree[node] = max(self._tree[2 * node], self._tree[2 * node + 1])
        self._up_to: list[int] = []
        highest = -1
        for place in places:
            highest = max(highest, place)
            self._up_to.append(highest)

    def beyond(self, snapshot: Snapshot, own: int, place: int) -> int | None:
        """A transaction, not `own`, that `snapshot` sees and whose last place is beyond `place`, or None."""
        end = bisect_left(self._txs, snapshot.xmax)
        if end == 0 or self._up_to[end - 1] <= place:
            return None
        start = 0
        for hole in sorted({*snapshot.running, own}):
            stop = min(bisect_left(self._txs, hole), end)
            if (found := self._search(start, stop, place)) is not None:
                return found
            start = stop + 1 if stop < self._size and self._txs[stop] == hole else stop
        return self._search(start, end, place)

    def _search(self, start: int, stop: int, place: int) -> int | None:
        if start >= stop or self._maximum(start, stop) <= place:
            return None
        return next(
            tx for tx, at in zip(self._txs[start:stop], self._tree[self._size + start :], strict=False) if at > place
        )

    def _maximum(self, start: int, stop: int) -> int:
        best = -1
        start, stop = start + self._size, stop + self._size
        while start < stop:
            if start & 1:
                best = max(best, self._tree[start])
                start += 1
            if stop & 1:
                stop -= 1
                best = max(best, self._tree[stop])
            start //= 2
            stop //= 2
        return best
