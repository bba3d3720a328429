"""One live query, and when it runs next. No I/O, no clock of its own.

The first change runs it at once; then there is at most one run in `throttle` seconds, and always one after the last
change. A query that is slower than its throttle rests for as long as it took. `every` runs it at the multiples of that
span on the database's clock, so that a day's figures turn at midnight and not when somebody sells.
"""

from dataclasses import dataclass
from math import floor, inf
from typing import Final

# A failed run is tried again after this, doubled up to the most; at the next change after the lesser most.
RETRY_SECONDS: Final = 0.5
RETRY_MOST: Final = 60.0
RETRY_CHANGED_MOST: Final = 5.0
# After the multiple of `every`: a run at the very moment might still be of the old day.
_SLACK: Final = 0.005


@dataclass(frozen=True, slots=True)
class LiveQuery:
    """A live query as the leader claimed it. `throttle` and `every` in seconds; `digest` of its last result."""

    channel: str
    version: int
    tables: frozenset[int]
    throttle: float
    every: float | None
    digest: str | None


class Schedule:
    """When one query is due. `now` and all times: seconds of a clock that never goes back."""

    def __init__(self, throttle: float, every: float | None) -> None:
        self._throttle = throttle
        self._every = every
        self._changed = True  # nobody knows what it is like at first
        self._started = -inf
        self._rested = -inf
        self._failures = 0
        self._failed_at = -inf
        self._tick = inf
        # What to add to `now` for the database's time of day.
        self._offset: float | None = None

    @property
    def failures(self) -> int:
        """Failed runs in a row."""
        return self._failures

    def change(self) -> None:
        """Something that the query depends on has changed, or it has to run for another reason."""
        self._changed = True

    def due(self) -> float:
        """When to run next, `inf`: not before something changes."""
        earliest = max(self._started + self._throttle, self._rested)
        if self._failures:
            pause = min(RETRY_MOST, RETRY_SECONDS * 2.0 ** min(self._failures - 1, 20))
            if self._changed:
                pause = min(pause, RETRY_CHANGED_MOST)
            return max(earliest, self._failed_at + pause)
        return earliest if self._changed else max(earliest, self._tick)

    def start(self, now: float) -> None:
        """A run begins: what changed until now, it sees."""
        self._changed = False
        self._started = now

    def end(self, now: float, clock: tuple[float, float] | None = None) -> None:
        """The run went well. `clock`: a moment, and the database's time of day (seconds since 1970) then."""
        self._failures = 0
        self._rest(now, clock)

    def fail(self, now: float) -> None:
        """The run failed: nothing is known of what changed before it."""
        self._failures += 1
        self._failed_at = now
        self._rest(now, None)

    def _rest(self, now: float, clock: tuple[float, float] | None) -> None:
        self._rested = now + (now - self._started)
        if self._every is None:
            return
        if clock is not None:
            self._offset = clock[1] - clock[0]
        if self._offset is None:
            self._tick = now + self._every
        else:
            at = floor((self._started + self._offset) / self._every + 1) * self._every
            self._tick = at - self._offset + _SLACK
