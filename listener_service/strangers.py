"""Sessions that hold a lock of ours and are none of ours: found, named, and how to be rid of them.

Whoever may connect may take any advisory lock, and there is no way to hide one (ADR 0079). Held by a stranger, two of
them stop the relay, and the doorbell's makes every commit of a writer ring.
"""

from typing import Final

from listener_service.metrics import Metrics
from listener_service.session import Session
from shared.codes import Unready, Warned
from shared.logs import logger
from shared.readiness import Readiness

log = logger("strangers")

LOOK_SECONDS: Final = 3.0
DOORBELL: Final = 2
_HARM: Final = {
    1: "holds the leader lock, so no listener can lead and nothing is published",
    DOORBELL: "holds the doorbell's lock, so every commit of a writer pays for a NOTIFY and the relay never sleeps",
    4: "holds the cut's lock, so nothing is published",
}


class Strangers:
    """Look again and again; what was found stands in /readyz until a look finds nothing."""

    def __init__(self, readiness: Readiness, metrics: Metrics) -> None:
        self._readiness = readiness
        self._metrics = metrics
        self._known: set[str] = set()

    async def look(self, session: Session) -> None:
        """Raises session.FAILURES."""
        rows = await session.rows("lock_strangers", timeout=LOOK_SECONDS)
        self._metrics.strangers.set(len(rows))
        found = {_say(row["key"], row["pid"], row["role"], row["application"]): row["key"] for row in rows}
        for message in found.keys() - self._known:
            log.error(message)
        self._known = set(found)
        harm = [message for message, key in found.items() if key != DOORBELL]
        cost = [message for message, key in found.items() if key == DOORBELL]
        if harm:
            self._readiness.unready(Unready.LOCKED, "; ".join(harm))
        else:
            self._readiness.clear(Unready.LOCKED)
        self._readiness.warn(Warned.DOORBELL, "; ".join(cost) or None)


def _say(key: int, pid: int | None, role: str | None, application: str | None) -> str:
    if pid is None:
        return (
            f"a prepared transaction {_HARM[key]}; pg_locks has its virtualtransaction, pg_prepared_xacts its gid; "
            "end it: rollback prepared '<gid>'"
        )
    who = f"session {pid} (role {role}, application {application!r})"
    return f"{who} {_HARM[key]}; end it: select pg_terminate_backend({pid})"
