"""Leadership: a session advisory lock on the relay's own connection. No lock, no ticks.

Standbys try every 250 ms, and at once on a farewell; they never wait inside Postgres, where a blocked lock would hold
a snapshot and with it the customer's vacuum. What a leader does is `term.py`'s.
"""

import asyncio
import contextlib
from time import monotonic
from typing import Final

from listener_service.ports import LeadershipLost
from listener_service.session import FAILURES, Session, explain
from shared.codes import Unready
from shared.readiness import Readiness

TRY_EVERY: Final = 0.25
PING_EVERY: Final = 2.0
PING_SECONDS: Final = 4.0
SLOW_SECONDS: Final = 5.0


async def win(session: Session, farewell: asyncio.Event, stopping: asyncio.Event) -> bool:
    """Try until the lock is ours. False: stopping. Raises session.FAILURES."""
    while not stopping.is_set():
        farewell.clear()
        if await session.value("leader_try_lock"):
            return True
        tasks = [asyncio.ensure_future(event.wait()) for event in (farewell, stopping, session.lost)]
        await asyncio.wait(tasks, timeout=TRY_EVERY, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
    return False


async def keep(session: Session) -> None:
    """Ping for ever, so that the server does not take the session for a frozen one. Raises LeadershipLost.

    A turn may take longer than a ping's time (a backlog is sorted); such a session is not idle.
    """
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PING_EVERY):
                await session.lost.wait()
        if session.lost.is_set():
            raise LeadershipLost("Postgres closed the session that holds the leader lock")
        try:
            await session.value("ping", timeout=PING_SECONDS)
        except FAILURES as error:
            raise LeadershipLost(explain(error)) from error


async def watch(session: Session, readiness: Readiness) -> None:
    """Show, for ever, a question that Postgres does not answer: its process may be frozen, or sort a backlog."""
    while True:
        await asyncio.sleep(1.0)
        since = session.busy_since
        if since is not None and monotonic() - since > SLOW_SECONDS:
            readiness.unready(
                Unready.POSTGRES,
                f"Postgres has not answered the relay for {monotonic() - since:.0f} s: its process is frozen, "
                "waits, or sorts a large backlog; look for 'notifiws relay' in pg_stat_activity",
            )
        else:
            readiness.clear(Unready.POSTGRES)


async def leave(session: Session) -> None:
    """Give up the lock and say so, so that a standby takes over at once. Never raises."""
    with contextlib.suppress(*FAILURES):
        await session.value("leader_unlock", timeout=2.0)
        await session.value("farewell", timeout=2.0)
