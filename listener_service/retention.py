"""Has the log's old slots emptied, once a minute, and watches that the log does not outgrow its bounds.

Bounds: NOTIFIWS_LOG_BYTES, and the room on Postgres' disk where that is a disk of this machine. Past one of them the
log keeps less than the retention, said in log, metric and /readyz: a full disk would stop the writers. On connections
of its own: emptying may take a while.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import Final

from listener_service import disk
from listener_service.metrics import Metrics
from listener_service.session import FAILURES, Session, explain, open_session
from shared.codes import Warned
from shared.logs import logger
from shared.readiness import Readiness

log = logger("retention")

EVERY: Final = 60.0
# How often the log's size is looked at, and how long its being cut short is shown.
LOOK_EVERY: Final = 5.0
SHOWN_SECONDS: Final = 3600.0
ROTATE_SECONDS: Final = 120.0


@dataclass(slots=True)
class Retention:
    """`keep` is a task of the leader's. `seconds`: keep so much at least; `most_bytes`: of so many at most, 0: any."""

    url: str
    seconds: float
    most_bytes: int
    readiness: Readiness
    metrics: Metrics
    _shown_until: float | None = field(default=None, init=False)

    async def keep(self) -> None:
        """Only cancellation ends it."""
        rotated: float | None = None
        try:
            while True:
                try:
                    async with open_session(self.url, "notifiws retention") as session:
                        if rotated is None or monotonic() - rotated >= EVERY:
                            rotated = monotonic()
                            await self._rotate(session)
                        await self._guard(session)
                except FAILURES as error:
                    log.warning("old slots of the log are not emptied; tried again soon", reason=explain(error))
                await asyncio.sleep(LOOK_EVERY)
        finally:
            self.readiness.warn(Warned.LOG_LARGE, None)  # the next leader looks itself

    async def _rotate(self, session: Session) -> None:
        emptied = await session.value("rotate", timedelta(seconds=self.seconds), timeout=ROTATE_SECONDS)
        if emptied:
            self.metrics.rotations.inc(len(emptied))
            log.info("old slots of the log are emptied", partitions=emptied)

    async def _guard(self, session: Session) -> None:
        size: int = await session.value("log_bytes")
        self.metrics.log_bytes.set(size)
        most, why = await self._bound(session, size)
        if most is None or size <= most:
            if self._shown_until is not None and monotonic() > self._shown_until:
                self._shown_until = None
                self.readiness.warn(Warned.LOG_LARGE, None)
            return
        [done] = await session.rows("shorten", timedelta(seconds=self.seconds), most, timeout=ROTATE_SECONDS)
        self.metrics.log_bytes.set(done["bytes"])
        self.metrics.rotations.inc(len(done["emptied"]))
        self.metrics.shortened.inc(bool(done["emptied"]))
        says = f"the log had {_size(size)}, and {why}: "
        if done["bytes"] <= most:
            says += f"it keeps {_time(done['kept'])} instead of {_time(timedelta(seconds=self.seconds))}"
        else:
            says += (
                f"all that was published is gone, and {_size(done['bytes'])} are left: events that wait to be "
                "published (the reasons say for what), or beside which a transaction is still open (pg_stat_activity)"
            )
        log.error(says, partitions=done["emptied"], next_slot=done["moved"])
        self._shown_until = monotonic() + min(SHOWN_SECONDS, self.seconds)
        self.readiness.warn(Warned.LOG_LARGE, says)

    async def _bound(self, session: Session, size: int) -> tuple[int | None, str]:
        """The least of the bounds, and what a message says of it."""
        bounds = []
        if self.most_bytes:
            bounds.append((self.most_bytes, f"NOTIFIWS_LOG_BYTES allows {_size(self.most_bytes)}"))
        [row] = await session.rows("data_directory")
        if found := disk.find(row["folder"], row["port"], row["started"]):
            bounds.append((found.room(size), f"the disk of {row['folder']} has {_size(found.free)} left"))
        return min(bounds, default=(None, ""))


def _size(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def _time(span: timedelta) -> str:
    seconds = span.total_seconds()
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
