"""Payloads of adopted NOTIFY channels between their arrival and the log.

This is the one at-most-once hop: what arrives while the queue is full, or is still here when leadership ends, is
dropped, counted and logged. From the log on it is an event like any other. Half full it is `crowded`: whoever fills it
(`adoption.py`) stops reading until there is room.
"""

import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from listener_service.metrics import Metrics
from shared.logs import logger

log = logger("adopted")

MAX_BYTES: Final = 64_000_000
# One write to the log takes so many.
TAKE_ROWS: Final = 1_000
TAKE_BYTES: Final = 1_000_000
# What a queued payload costs besides its own object: its place here, and the channel's name seldom.
_OVERHEAD: Final = 80


class AdoptedQueue:
    """Bounded by the bytes of memory it takes; full: the newest is dropped."""

    def __init__(
        self,
        metrics: Metrics,
        on_arrival: Callable[[], None],
        max_bytes: int = MAX_BYTES,
        on_room: Callable[[], None] = lambda: None,
    ) -> None:
        self._metrics = metrics
        self._on_arrival = on_arrival
        self._on_room = on_room
        self._max_bytes = max_bytes
        self._queue: deque[tuple[str, str]] = deque()
        self._bytes = 0
        self._took = 0
        self._dropped = 0

    @property
    def crowded(self) -> bool:
        """Half full: stop bringing more until `on_room` is called."""
        return self._bytes > self._max_bytes // 2

    def put(self, channel: str, payload: str) -> None:
        """A payload has arrived for the public channel."""
        size = _size(payload)
        if self._bytes + size > self._max_bytes:
            self._metrics.adopted_dropped.labels("full").inc()
            self._dropped += 1
            if self._dropped == 1:
                log.error("adopted NOTIFY payloads are dropped: they arrive faster than the log takes them")
            return
        self._queue.append((channel, payload))
        self._bytes += size
        self._metrics.adopted_queued.set(self._bytes)
        self._on_arrival()

    def take(self) -> Sequence[tuple[str, str]]:
        """The next payloads for one write to the log, in the order of arrival; gone when `taken` is called."""
        taken: list[tuple[str, str]] = []
        size = 0
        for channel, payload in self._queue:
            if len(taken) == TAKE_ROWS or (taken and size + len(payload) > TAKE_BYTES):
                break
            taken.append((channel, payload))
            size += len(payload)
        self._took = len(taken)
        return taken

    def taken(self) -> None:
        """What `take` gave is in the log."""
        for _ in range(self._took):
            _, payload = self._queue.popleft()
            self._bytes -= _size(payload)
        self._took = 0
        self._metrics.adopted_queued.set(self._bytes)
        self._look_for_room()

    def _look_for_room(self) -> None:
        if self._bytes <= self._max_bytes // 8 * 3:
            if self._dropped:
                log.error("adopted NOTIFY payloads are taken again", dropped=self._dropped)
                self._dropped = 0
            self._on_room()

    def clear(self) -> None:
        """Leadership is over: another leader hears the channels now, and of a write that failed nobody knows."""
        if self._queue:
            self._metrics.adopted_dropped.labels("leadership").inc(len(self._queue))
            log.warning("adopted NOTIFY payloads are dropped: leadership ended first", payloads=len(self._queue))
        self._queue.clear()
        self._bytes = self._took = 0
        self._metrics.adopted_queued.set(0)
        self._look_for_room()


def _size(payload: str) -> int:
    return sys.getsizeof(payload) + _OVERHEAD
