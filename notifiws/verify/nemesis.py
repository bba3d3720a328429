"""Does one fault after the other, in an order that the seed decides, until it is cancelled; then all is healed.

Each fault's turn comes before any comes again. Mostly it waits until clients are well before the next one; now and then
it does not, so that faults meet.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Final

from notifiws.verify import history
from notifiws.verify.faults import Fault, NotDone, done
from notifiws.verify.rig import Rig
from notifiws.verify.spool import Spool

_OVERLAPS: Final = 0.2
_PAUSE: Final = (0.4, 1.6)
# A frozen or cut leader is replaced after about 6 s; what is held for longer than that meets its successor.
_HOLDS: Final = (0.5, 2.0, 4.0, 8.0)


class Nemesis:
    """`run` it as a task. `doing` is what is felt just now, for the progress view."""

    def __init__(
        self, rig: Rig, spool: Spool, faults: Sequence[Fault], seed: int, settled: Callable[[float], Awaitable[bool]]
    ) -> None:
        """`settled` waits until clients are well after the time it is given, and says whether they are."""
        self._rig = rig
        self._spool = spool
        self._faults = list(faults)
        self._chance = Random(f"{seed} nemesis")
        self._settled = settled
        self.doing: str | None = None
        self.skipped = 0

    async def run(self) -> None:
        """For ever."""
        while True:
            turn = list(self._faults)
            self._chance.shuffle(turn)
            for fault in turn:
                await asyncio.sleep(self._chance.uniform(*_PAUSE))
                await self._do(fault)

    async def _do(self, fault: Fault) -> None:
        hold = self._chance.choice(_HOLDS) if fault.lasts else 0.0
        # Drawn for every fault, so that the order of all that follow is the seed's alone.
        chance, overlaps = Random(self._chance.random()), self._chance.random() < _OVERLAPS
        began, hit = self._spool.now, fault.target
        self.doing = str(fault)
        try:
            async with done(fault, self._rig, chance) as hit:
                self.doing = f"{fault.kind} {hit}"
                await asyncio.sleep(hold)
        except NotDone:
            self.skipped += 1
            return
        finally:
            if self.doing != str(fault):
                self._spool.faults.append(history.Fault(began, self._spool.now, fault.kind, hit))
            self.doing = None
        if not overlaps:
            await self._settled(self._spool.now)
