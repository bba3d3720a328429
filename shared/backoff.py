"""Full-jitter exponential backoff, as a pure function of attempt and chance."""

from random import random


def backoff(attempt: int, *, first: float = 0.1, most: float = 5.0, chance: float | None = None) -> float:
    """Seconds to wait before attempt number `attempt` + 1 (the first failure is attempt 1).

    Uniform between 0 and min(most, first * 2 ** (attempt - 1)), so that many who lost the same server do not come
    back together. `chance` in [0, 1) replaces the random draw.

    >>> backoff(1, chance=0.5), backoff(3, chance=0.5), backoff(50, chance=0.5)
    (0.05, 0.2, 2.5)
    """
    ceiling: float = min(most, first * 2.0 ** min(attempt - 1, 32))
    return ceiling * (random() if chance is None else chance)
