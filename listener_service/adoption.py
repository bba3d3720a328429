"""The LISTEN connection of adopted NOTIFY channels, apart from the doorbell's: a burst of payloads must deafen nobody.

A leader has it open while something is adopted. What it hears goes into the queue (`adopted.py`). While that is crowded
the connection is not read and Postgres keeps what comes, but only for as long as Postgres bears it: its backend holds a
snapshot while it waits to send, the socket's user timeout ends it after 5 s, and a NOTIFY queue that fills up fails the
commits of others. Every 2 s a nonce goes through NOTIFY itself; it may wait behind a burst, but a connection that
brings nothing at all meanwhile is deaf, and made anew.
"""

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Mapping
from time import monotonic
from typing import Any, Final

from db import loader
from listener_service.adopted import AdoptedQueue
from listener_service.doorbell import PROBE_EVERY, PROBE_SECONDS, Deaf
from listener_service.metrics import Metrics
from listener_service.session import FAILURES, Session, connect, explain
from shared.backoff import backoff
from shared.codes import Unready
from shared.logs import logger
from shared.readiness import Readiness
from shared.tasks import end

log = logger("adoption")

# How long it is not read at most. Then it is read again, and what the queue does not hold is dropped.
PAUSE_SECONDS: Final = 3.0


class Adoption:
    """One leadership's. `run` keeps the connection; `queue` is what it has heard."""

    def __init__(self, url: str, readiness: Readiness, metrics: Metrics, on_arrival: Callable[[], None]) -> None:
        self._url = url
        self._readiness = readiness
        self._metrics = metrics
        self.queue = AdoptedQueue(metrics, on_arrival, on_room=self._room)
        self._public: Mapping[str, str] = {}
        self._heard_on: set[str] = set()
        self._changed = asyncio.Event()
        self._session: Session | None = None
        self._paused: asyncio.TimerHandle | None = None
        self._gave_up = False
        self._deaf = False
        self._heard_at = 0.0
        self._probe: tuple[str, asyncio.Event] = ("", asyncio.Event())

    def adopt(self, public: Mapping[str, str]) -> None:
        """Hear these NOTIFY channels (keys) from now on, as the public channels that they are mapped to."""
        if public != self._public:
            self._public = public
            self._changed.set()

    def close(self) -> None:
        """The leadership is over: what is heard from now on is the next leader's."""
        self._public = {}
        self._well()
        self.queue.clear()

    async def run(self) -> None:
        """Keep the connection for ever. Only cancellation ends it."""
        attempt = 0
        while True:
            if not self._public:
                self._well()
                attempt = 0
                await self._changed.wait()
                self._changed.clear()
                continue
            try:
                self._session = session = await connect(self._url, "notifiws adopted")
                await self._listen(session)
                self._well()
                attempt = 0
                await self._keep(session)
                continue
            except Deaf as deaf:
                self._metrics.deaf.inc()
                self._failed(attempt, str(deaf))
            except FAILURES as error:
                self._failed(attempt, explain(error))
            finally:
                self._drop()
            attempt += 1
            self._metrics.reconnects.labels("adopted").inc()
            await asyncio.sleep(backoff(attempt, first=0.1, most=2.0))

    def _well(self) -> None:
        if self._deaf:
            self._deaf = False
            self._readiness.clear(Unready.DEAF)

    def _failed(self, attempt: int, why: str) -> None:
        self._deaf = True
        self._readiness.unready(Unready.DEAF, f"adopted NOTIFY channels are not heard: {why}")
        if attempt == 0:
            log.warning("adopted NOTIFY channels are not heard, and what is sent meanwhile is lost", reason=why)

    def _drop(self) -> None:
        if self._paused:
            self._paused.cancel()
        self._paused = None
        if self._session:
            self._session.terminate()
        self._session = None

    async def _listen(self, session: Session) -> None:
        """Listen to all that is adopted, and hear ourselves."""
        # It holds no lock, and is idle behind a burst for longer than the guard allows.
        await session.rows("guard_settings", "0")
        self._heard_on = set()
        await self._unless_silent(session, self._follow(session))
        await self._unless_silent(session, self._sound(session))

    async def _keep(self, session: Session) -> None:
        """Until nothing is adopted any more. Raises Deaf and FAILURES."""
        while self._public:
            changed = asyncio.create_task(self._changed.wait())
            lost = asyncio.create_task(session.lost.wait())
            try:
                await asyncio.wait((changed, lost), timeout=PROBE_EVERY, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await end(changed, lost)
            await self._unless_silent(session, self._follow(session))
            await self._unless_silent(session, self._sound(session))

    async def _follow(self, session: Session) -> None:
        self._changed.clear()
        public = self._public
        async with session.turn() as connection:
            for channel in self._heard_on - public.keys():
                await connection.remove_listener(channel, self._heard)
            for channel in public.keys() - self._heard_on:
                await connection.add_listener(channel, self._heard)
            if not self._heard_on:
                await connection.add_listener("notifiws_probe", self._probed)
        self._heard_on = set(public)

    async def _sound(self, session: Session) -> None:
        """Send a nonce through NOTIFY and wait for it."""
        nonce, heard = self._probe = secrets.token_hex(8), asyncio.Event()
        async with session.turn() as connection:
            await connection.fetch(loader.query("probe"), nonce)
        await heard.wait()

    async def _unless_silent(self, session: Session, work: Coroutine[Any, Any, None]) -> None:
        """`work`, however long it waits behind payloads. Raises Deaf when nothing at all comes for PROBE_SECONDS."""
        self._heard_at = monotonic()
        task, lost = asyncio.create_task(work), asyncio.create_task(session.lost.wait())
        try:
            while not task.done():
                await asyncio.wait((task, lost), timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
                if lost.done():
                    raise ConnectionError("Postgres closed the connection")
                if not self._paused and monotonic() - self._heard_at > PROBE_SECONDS and not task.done():
                    session.terminate()
                    raise Deaf(f"nothing was heard within {PROBE_SECONDS:g} s, not even a NOTIFY of our own")
            task.result()
        finally:
            await end(task, lost)

    # Callbacks

    def _heard(self, _connection: Any, _pid: int, channel: str, payload: Any) -> None:
        self._heard_at = monotonic()
        if public := self._public.get(channel):
            self.queue.put(public, payload)
            if self.queue.crowded and not self._paused and not self._gave_up and self._session:
                self._read(self._session, False)
                self._paused = asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._give_up)

    def _probed(self, _connection: Any, _pid: int, _channel: str, payload: Any) -> None:
        self._heard_at = monotonic()
        nonce, heard = self._probe
        if payload == nonce:
            heard.set()

    def _room(self) -> None:
        self._gave_up = False
        self._resume()

    def _give_up(self) -> None:
        self._gave_up = True
        self._resume()

    def _resume(self) -> None:
        if self._paused and self._session:
            self._paused.cancel()
            self._paused = None
            self._heard_at = monotonic()
            self._read(self._session, True)

    @staticmethod
    def _read(session: Session, wanted: bool) -> None:
        transport: asyncio.ReadTransport = session.connection._transport  # type: ignore[attr-defined]
        if not transport.is_closing():
            if wanted:
                transport.resume_reading()
            else:
                transport.pause_reading()
