"""The LISTEN connection: the doorbell, news of the configuration, the former leader's farewell.

A connection that answers queries proves nothing about LISTEN, so every 2 s a nonce goes through NOTIFY itself; one
that does not come back means deaf, and a new connection. After each LISTEN a look at everything is forced, for what
rang before. Callbacks are plain functions that set events: asyncpg runs coroutines unordered.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from typing import Any, Final

from listener_service.metrics import Metrics
from listener_service.session import FAILURES, QUERY_SECONDS, Session, connect, explain
from listener_service.strangers import Strangers
from shared.backoff import backoff
from shared.codes import Unready
from shared.logs import logger
from shared.readiness import Readiness
from shared.tasks import end

log = logger("doorbell")

PROBE_EVERY: Final = 2.0
PROBE_SECONDS: Final = 3.0
# Past this part of the NOTIFY queue the triggers stay silent (a full one would fail commits), so nobody may sleep.
CROWDED: Final = 0.45


class Deaf(Exception):
    """A probe was sent and not heard."""


class PostgresDoorbell:
    """See Doorbell. `run` keeps its connection; everything else works, in its way, without one."""

    def __init__(self, url: str, readiness: Readiness, metrics: Metrics) -> None:
        self._url = url
        self._readiness = readiness
        self._metrics = metrics
        self._rung = asyncio.Event()
        self._session: Session | None = None
        self._sleeping_on: Session | None = None
        self._unlocking: asyncio.Task[None] | None = None
        self._probe: tuple[str, asyncio.Event] = ("", asyncio.Event())
        self._crowded = False
        self._strangers = Strangers(readiness, metrics)
        # Set when watches or adoptions may have changed; when a leader may have left. Whoever waits clears them.
        self.config_changed = asyncio.Event()
        self.farewell = asyncio.Event()
        self.listening = asyncio.Event()

    # What the relay sees

    async def fall_asleep(self) -> bool:
        """See Doorbell."""
        if self._unlocking:
            await asyncio.wait((self._unlocking,))
            self._unlocking = None
        session = self._session
        if session is None or self._crowded:
            return False
        try:
            granted: bool = await session.value("doorbell_try_lock", timeout=2.0)
        except FAILURES:
            session.terminate()
            return False
        if granted and session is self._session:
            self._sleeping_on = session
            self._rung.clear()
            return True
        return False

    async def wait(self, seconds: float) -> None:
        """See Doorbell."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        self._rung.clear()

    def wake_up(self) -> None:
        """See Doorbell."""
        if session := self._sleeping_on:
            self._sleeping_on = None
            # Nobody waits for it: until it is done writers ring once more than they need to.
            self._unlocking = asyncio.create_task(self._unlock(session))

    async def _unlock(self, session: Session) -> None:
        try:
            await session.value("doorbell_unlock", timeout=2.0)
        except FAILURES:
            session.terminate()  # ends the lock with it

    def ring(self) -> None:
        """Wake whoever waits."""
        self._rung.set()

    # The connection

    async def run(self) -> None:
        """Keep the connection for ever. Only cancellation ends it."""
        attempt = 0
        while True:
            session: Session | None = None
            try:
                session = await connect(self._url, "notifiws doorbell")
                await self._listen(session)
                attempt = 0
                await self._keep(session)
            except Deaf as deaf:
                self._metrics.deaf.inc()
                self._readiness.unready(Unready.DEAF, f"{deaf}; the connection is made anew")
                log.error("deaf: a NOTIFY of our own was not heard; the connection is made anew")
            except FAILURES as error:
                self._readiness.unready(Unready.DEAF, f"not listening: {explain(error)}")
                if attempt == 0:
                    log.warning("not listening", reason=explain(error))
            finally:
                # Its lock is gone or will be: whoever sleeps must poll from now on.
                self._session = self._sleeping_on = None
                self.listening.clear()
                self._rung.set()
                if session:
                    session.terminate()
            attempt += 1
            self._metrics.reconnects.labels("doorbell").inc()
            await asyncio.sleep(backoff(attempt, first=0.1, most=2.0))

    async def _listen(self, session: Session) -> None:
        listeners: dict[str, Callable[..., None]] = {
            "notifiws": self._bell,
            "notifiws_config": lambda *_: self.config_changed.set(),
            "notifiws_farewell": lambda *_: self.farewell.set(),
            "notifiws_probe": self._probed,
        }
        async with session.turn() as connection, asyncio.timeout(QUERY_SECONDS):
            for channel, callback in listeners.items():
                await connection.add_listener(channel, callback)
        await self._sound(session)
        self._session = session
        self._readiness.clear(Unready.DEAF)
        self.listening.set()
        for event in (self._rung, self.config_changed, self.farewell):
            event.set()

    async def _keep(self, session: Session) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROBE_EVERY):
                    await session.lost.wait()
            if session.lost.is_set():
                raise ConnectionError("Postgres closed the connection")
            await self._sound(session)
            await self._strangers.look(session)

    async def _sound(self, session: Session) -> None:
        """Send a nonce through NOTIFY and wait for it. Raises Deaf."""
        usage = await session.value("queue_usage", timeout=PROBE_SECONDS)
        self._metrics.queue_usage.set(usage)
        if (usage > CROWDED) is not self._crowded:
            self._crowded = usage > CROWDED
            log.warning("the NOTIFY queue fills up" if self._crowded else "the NOTIFY queue is free again", used=usage)
            self._rung.set()
        nonce, heard = secrets.token_hex(8), asyncio.Event()
        self._probe = nonce, heard
        await session.value("probe", nonce, timeout=PROBE_SECONDS)
        # A connection that ends meanwhile must not be waited for: until it is found out, nobody rings a sleeping relay.
        waits = [asyncio.create_task(event.wait()) for event in (heard, session.lost)]
        try:
            await asyncio.wait(waits, timeout=PROBE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end(*waits)
        if session.lost.is_set():
            raise ConnectionError("Postgres closed the connection")
        if not heard.is_set():
            raise Deaf(f"a NOTIFY of our own was not heard within {PROBE_SECONDS:g} s")

    # Callbacks

    def _bell(self, *_: Any) -> None:
        self._metrics.rings.inc()
        self._rung.set()

    def _probed(self, _connection: Any, _pid: int, _channel: str, payload: Any) -> None:
        nonce, heard = self._probe
        if payload == nonce:
            heard.set()
