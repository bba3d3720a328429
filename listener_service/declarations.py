"""What is watched, adopted and queried live: read at the start of a leadership and when a NOTIFY says that it changed.

Also has capture functions follow tables whose shape changed, and live queries partitions. Works on a session of its
own, so that neither the relay nor the doorbell waits for it.
"""

import asyncio
import contextlib
from typing import Final

from listener_service.adoption import Adoption
from listener_service.doorbell import PostgresDoorbell
from listener_service.heartbeat import Heartbeat
from listener_service.live_queries import LiveQueries
from listener_service.live_query import LiveQuery
from listener_service.session import FAILURES, Session, explain, open_session
from listener_service.watched import Watches
from shared.backoff import backoff
from shared.logs import logger

log = logger("declarations")

# DDL rings no bell: how late the shape of a table is followed at most, and well below the session's idle timeout.
EVERY: Final = 3.0


async def follow(
    url: str,
    doorbell: PostgresDoorbell,
    adoption: Adoption,
    heartbeat: Heartbeat,
    live_queries: LiveQueries,
    *,
    watches: Watches,
) -> None:
    """Keep them told, for ever. Only cancellation ends it."""
    attempt = 0
    while True:
        try:
            async with open_session(url, "notifiws declarations") as session:
                while True:
                    rung = doorbell.config_changed.is_set()
                    doorbell.config_changed.clear()
                    await _tell(session, adoption, heartbeat, live_queries)
                    await watches.look(session, at_once=rung)
                    attempt = 0
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(EVERY):
                            await doorbell.config_changed.wait()
        except FAILURES as error:
            attempt += 1
            if attempt == 1:
                log.warning("declarations are not read", reason=explain(error))
            await asyncio.sleep(backoff(attempt))


async def _tell(session: Session, adoption: Adoption, heartbeat: Heartbeat, live_queries: LiveQueries) -> None:
    refreshed = await session.value("refresh_watches")
    if refreshed:
        log.info("capture follows the new shape of tables", watches=refreshed)
    if followed := await session.value("refresh_touches"):
        log.info("live queries follow the partitions of tables", tables=followed)
    adopted = await session.rows("adopted")
    adoption.adopt({row["pg_channel"]: row["channel"] for row in adopted})
    claimed = await session.rows("live_query_claim", live_queries.term)
    # Before the heartbeat, which has the nodes look.
    await live_queries.follow(
        [
            LiveQuery(
                row["channel"], row["version"], frozenset(row["tables"]), row["throttle"], row["every"], row["digest"]
            )
            for row in claimed
        ]
    )
    heartbeat.declare(row["channel"] for row in await session.rows("declared_channels"))
