"""One listener process: connects, stands by, leads, stands by again. Nothing it depends on ends it.

The parts it puts together: `leader.py` (the lock), `relay.py` (the leader's loop), `doorbell.py`, `heartbeat.py`,
`declarations.py`, `adoption.py`, `retention.py`, `live_queries.py`.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from db.migrate import SchemaError, check_schema
from listener_service import declarations, epoch, leader
from listener_service.adoption import Adoption
from listener_service.doorbell import PostgresDoorbell
from listener_service.heartbeat import Heartbeat
from listener_service.live_queries import LiveQueries
from listener_service.live_query_runs import PostgresRuns
from listener_service.log import PostgresLog
from listener_service.metrics import Metrics
from listener_service.pace import PACE, Pace
from listener_service.ports import LeadershipLost, Overtaken
from listener_service.publisher import RedisPublisher
from listener_service.relay import Relay
from listener_service.reseed import Reseed
from listener_service.retention import Retention
from listener_service.session import FAILURES, Session, connect, explain, open_session, refuse_pooler
from listener_service.watched import Watches
from shared.backoff import backoff
from shared.codes import Unready
from shared.logs import logger
from shared.readiness import Readiness
from shared.tasks import end

log = logger("listener")

# For a few small queries on a new connection.
CHECK_SECONDS: Final = 15.0


class Listener:
    """`run` it once; `stop` ends it after the publication in hand."""

    def __init__(
        self,
        database_url: str,
        publisher: RedisPublisher,
        *,
        retention: float,
        log_bytes: int,
        live_query_seconds: float,
        live_query_bytes: int,
        emit_bytes: int,
        max_event_bytes: int,
        readiness: Readiness,
        metrics: Metrics,
        pace: Pace = PACE,
    ) -> None:
        self._url = database_url
        self._publisher = publisher
        self._retention = Retention(database_url, retention, log_bytes, readiness, metrics)
        self._live_query_limits = live_query_seconds, live_query_bytes
        self._live_queries: LiveQueries | None = None
        self._emit_bytes = emit_bytes
        self._max_event_bytes = max_event_bytes
        self._readiness = readiness
        self._metrics = metrics
        self._pace = pace
        self._stopping = asyncio.Event()
        self._doorbell = PostgresDoorbell(database_url, readiness, metrics)
        self._watches = Watches(readiness, metrics)
        self._heartbeat = Heartbeat(publisher, readiness, metrics)
        self._leads = False
        self._connected = asyncio.Event()

    @property
    def role(self) -> str:
        """`leader` or `standby`."""
        return "leader" if self._leads else "standby"

    @property
    def failing(self) -> dict[str, str]:
        """What is wrong with live queries, by channel."""
        return self._live_queries.failing if self._live_queries else {}

    def stop(self) -> None:
        """End soon: /readyz is 503 from now on."""
        self._readiness.unready(Unready.DRAINING, "the listener is stopping")
        self._stopping.set()
        self._doorbell.ring()

    async def run(self) -> None:
        """Until `stop`. Raises SchemaError and PoolerFound, which no waiting mends."""
        async with asyncio.TaskGroup() as tasks:
            # They end only by cancellation; should one die of a mistake, the whole listener does, and says so.
            beside = [tasks.create_task(self._heartbeat.run())]
            try:
                await self._until_pooler_is_ruled_out()
                beside.append(tasks.create_task(self._doorbell.run()))
                beside.append(tasks.create_task(self._until_started()))
                await self._serve_terms()
            finally:
                await end(*beside)
        await self._publisher.close()

    async def _until_pooler_is_ruled_out(self) -> None:
        attempt = 0
        while not self._stopping.is_set():
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    await refuse_pooler(self._url)
                return
            except FAILURES as error:
                attempt += 1
                await self._postgres_away(explain(error), attempt)

    async def _until_started(self) -> None:
        for event in (self._heartbeat.answered, self._doorbell.listening, self._connected):
            await event.wait()
        self._readiness.clear(Unready.STARTING)

    async def _serve_terms(self) -> None:
        attempt = 0
        while not self._stopping.is_set():
            why = "Postgres closed the session"
            try:
                async with open_session(self._url, "notifiws relay") as session:
                    async with asyncio.timeout(CHECK_SECONDS):
                        await check_schema(session.connection)
                    self._readiness.clear(Unready.POSTGRES)
                    self._connected.set()
                    attempt = 0
                    if await leader.win(session, self._doorbell.farewell, self._stopping):
                        await self._term(session)
            except SchemaError:
                raise
            except LeadershipLost as lost:
                why = str(lost)
            except FAILURES as error:
                why = explain(error)
            except Exception:
                # A mistake of ours, or an event that this release does not know: it stays in the log, and a standby
                # (of a newer release perhaps) may do better.
                log.exception("the relay failed; its tick is kept and tried again")
                why = "the relay failed; its log says why"
            if not self._stopping.is_set():
                attempt += 1
                self._metrics.reconnects.labels("relay").inc()
                await self._postgres_away(why, attempt)

    async def _term(self, session: Session) -> None:
        """One leadership, from winning the lock to losing or leaving it. Raises LeadershipLost."""
        adapter = PostgresLog(session, self._max_event_bytes)
        name = self._publisher.epoch = await epoch.settle(adapter)
        await session.value("limit_emit", self._emit_bytes)
        # Through the very session that holds the lock, so that a later leader has a later term.
        term: int = await session.value("live_query_term")
        seconds, most_bytes = self._live_query_limits
        runs = PostgresRuns(self._url, term, seconds=seconds, most_bytes=most_bytes)
        live_queries = self._live_queries = LiveQueries(
            term, runs, self._publisher, metrics=self._metrics, on_result=self._doorbell.ring
        )
        adoption = Adoption(self._url, self._readiness, self._metrics, self._doorbell.ring)
        relay = Relay(
            name,
            adapter,
            self._publisher,
            self._doorbell,
            adoption.queue,
            readiness=self._readiness,
            metrics=self._metrics,
            stopping=self._stopping,
            pace=self._pace,
            on_channels=self._heartbeat.written,
            on_touched=live_queries.touched,
        )
        reseed = Reseed(name, relay, self._publisher, self._source, readiness=self._readiness, metrics=self._metrics)
        log.info("leadership gained", epoch=name)
        self._leads = True
        self._metrics.leader.set(1)
        self._metrics.leaderships.inc()
        self._heartbeat.lead(relay, name)
        try:
            async with asyncio.TaskGroup() as tasks:
                beside = [
                    tasks.create_task(leader.keep(session)),
                    tasks.create_task(leader.watch(session, self._readiness)),
                    tasks.create_task(
                        declarations.follow(
                            self._url, self._doorbell, adoption, self._heartbeat, live_queries, watches=self._watches
                        )
                    ),
                    tasks.create_task(adoption.run()),
                    tasks.create_task(live_queries.run()),
                    tasks.create_task(reseed.run()),
                    tasks.create_task(self._retention.keep()),
                ]
                try:
                    await relay.lead()
                finally:
                    await end(*beside)
            await leader.leave(session)
            log.info("leadership left", tick=relay.completed)
        except BaseExceptionGroup as group:
            # The relay and the pings find the same loss; one of them is enough.
            lost, other = group.split(LeadershipLost)
            if other is not None or lost is None:
                raise
            reason = str(lost.exceptions[0])
            log.warning("leadership lost", reason=reason, tick=relay.completed)
            if lost.subgroup(Overtaken):
                await epoch.overtaken(adapter, reason)
            raise LeadershipLost(reason) from group
        finally:
            self._leads = False
            self._metrics.leader.set(0)
            self._heartbeat.follow()
            self._live_queries = None
            runs.close()
            adoption.close()

    @contextlib.asynccontextmanager
    async def _source(self) -> AsyncIterator[PostgresLog]:
        """The log, on a session that leads nothing."""
        session = await connect(self._url, "notifiws reseed", relay=False)
        try:
            await session.rows("reader_settings", "600s")
            yield PostgresLog(session, self._max_event_bytes)
        finally:
            session.terminate()

    async def _postgres_away(self, why: str, attempt: int) -> None:
        if attempt == 1:
            log.warning("no session with Postgres", reason=why)
        self._readiness.unready(Unready.POSTGRES, why)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(backoff(attempt, first=0.1, most=2.0)):
                await self._stopping.wait()
