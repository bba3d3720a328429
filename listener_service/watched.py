"""Watches that are not in force: found again and again, logged once each, and said in /readyz and a metric.

What is wrong and what mends it are the view's own words (db/functions/watches.sql); the listener goes on either way.
"""

import time
from typing import Final

from listener_service.metrics import Metrics
from listener_service.session import Session
from shared.codes import Warned
from shared.logs import logger
from shared.readiness import Readiness

log = logger("watches")

# A look costs the database some milliseconds a watch.
EVERY: Final = 10.0
_SAID: Final = 5  # in /readyz; the log and the metric have all


class Watches:
    """What is known of them."""

    def __init__(self, readiness: Readiness, metrics: Metrics) -> None:
        self._readiness = readiness
        self._metrics = metrics
        self._known: frozenset[str] = frozenset()
        self._next = 0.0

    async def look(self, session: Session, *, at_once: bool) -> None:
        """When it is time, or at once. Raises session.FAILURES."""
        if not at_once and time.monotonic() < self._next:
            return
        rows = await session.rows("watches_broken")
        self._next = time.monotonic() + EVERY
        self._metrics.watches_broken.set(len(rows))
        found = [f"{row['table']} on channel {row['channel']}: {row['problem']}" for row in rows]
        for message in found:
            if message not in self._known:
                log.error("a watch is not in force", watch=message)
        self._known = frozenset(found)
        more = f"; and {len(found) - _SAID} more" if len(found) > _SAID else ""
        self._readiness.warn(Warned.WATCHES, "; ".join(found[:_SAID]) + more or None)
