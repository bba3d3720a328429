"""When the relay may cut again. No I/O, no clock of its own.

A tick is a durable commit, a kept row, and one write to every client of its channels, so in the long run there is at
most one in `tick` seconds. But a lone commit that follows closely on another must not wait for that: what was not used
in the last seconds may be used at once.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds. `tick`: the least time from one tick to the next in the long run; `burst`: so many ticks may be ahead
    of it. `look`: from a tick to the first look for more, doubled from look to look; once that is `doze` the relay
    tries to sleep. `poll`: the most time between looks while somebody keeps it awake; `fallback`: while it sleeps.
    `patience`: how long a large publication that Redis refuses, and nothing else, is tried again at least.
    """

    tick: float = 0.010
    burst: int = 200
    look: float = 0.0005
    doze: float = 0.002
    poll: float = 0.050
    fallback: float = 1.0
    patience: float = 5.0


PACE: Final = Pace()


class Budget:
    """How many ticks may be cut before one has to wait: `burst` at first, one more every `tick` seconds."""

    def __init__(self, pace: Pace, now: float) -> None:
        """`now` here and below: seconds of a clock that never goes back."""
        self._pace = pace
        # The moment up to which ticks are paid for; a tick moves it on by `tick`, time passing lets it fall behind.
        self._paid_to = now - pace.burst * pace.tick

    def wait(self, now: float) -> float:
        """Seconds until the next tick may be cut, 0 when it may be now."""
        self._paid_to = max(self._paid_to, now - self._pace.burst * self._pace.tick)
        return max(0.0, self._paid_to + self._pace.tick - now)

    def spend(self) -> None:
        """A tick was cut."""
        self._paid_to += self._pace.tick
