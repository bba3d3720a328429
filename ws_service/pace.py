"""How much of a storm is worked off in one turn of the event loop.

Ten thousand clients that come back at once are ten thousand tasks that are all ready: without a pace, live events of
everybody else would wait until each of them has had its turn.
"""

import asyncio
from collections import deque
from typing import Final

PER_TURN: Final = 64


class Pace:
    """`await turn()` before each piece of work; so many go on in one turn of the loop, in the order they came."""

    def __init__(self, per_turn: int = PER_TURN) -> None:
        self._per_turn = per_turn
        self._left = per_turn
        self._scheduled = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def turn(self) -> None:
        """Return in this turn of the loop or a later one."""
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._next)
        if self._left > 0 and not self._waiting:
            self._left -= 1
            return
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        await waiting

    def _next(self) -> None:
        self._left = self._per_turn
        while self._waiting and self._left > 0:
            waiting = self._waiting.popleft()
            if not waiting.done():
                self._left -= 1
                waiting.set_result(None)
        self._scheduled = bool(self._waiting) or self._left < self._per_turn
        if self._scheduled:
            asyncio.get_running_loop().call_soon(self._next)
