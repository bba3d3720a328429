"""The Postgres adapter of live queries: a few connections of their own, opened when they are needed.

A query runs in a read-only transaction, as its own role, and its result is logged in another one (db/functions/
result.sql). Never on the relay's connection: no query may delay a tick.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from time import monotonic
from typing import Final

import asyncpg

from db import loader
from listener_service.live_queries import QueryFailed, Ran, RunsAway
from listener_service.live_query import LiveQuery
from listener_service.session import FAILURES, QUERY_SECONDS, Session, connect, explain

# The server ends a statement first; this is for a server that does not answer.
_ANSWER_SECONDS: Final = 5.0
# SQLSTATE's classes whose messages quote values, in any language's quotes; and a RAISE of the customer's own.
_ABOUT_DATA: Final = ("22", "23")
_QUOTED: Final = re.compile(r'["«»„“”].*["«»„“”]', re.DOTALL)
_RAISED: Final = "P0001"
# The server ended the session, not the query.
_NOT_ITS_FAULT: Final = (
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.PostgresConnectionError,
)


class PostgresRuns:
    """See Runs. One for each leadership; `close` it after the last run."""

    def __init__(self, url: str, term: int, *, seconds: float, most_bytes: int) -> None:
        """`seconds` and `most_bytes` bound a run and its result."""
        self._url = url
        self._term = term
        self._seconds = seconds
        self._most_bytes = most_bytes
        self._idle: list[Session] = []

    async def run(self, query: LiveQuery, known: str | None) -> Ran | None:
        """See Runs."""
        async with self._session() as session:
            connection = session.connection
            transaction = connection.transaction(isolation="repeatable_read", readonly=True)
            await transaction.start()
            started = monotonic()
            try:
                row = await connection.fetchrow(
                    loader.query("live_query_run"),
                    query.channel,
                    query.version,
                    known,
                    self._most_bytes,
                    timeout=self._seconds + _ANSWER_SECONDS,
                )
            except asyncpg.PostgresError as error:
                if connection.is_closed() or isinstance(error, _NOT_ITS_FAULT):
                    raise
                await transaction.rollback()
                raise QueryFailed(self._why(error, monotonic() - started)) from error
            seconds = monotonic() - started
            await transaction.rollback()
        if row is None:
            return None
        return Ran(row["result"], row["digest"], row["at"], seconds, (started, row["at"].timestamp()))

    async def publish(self, query: LiveQuery, ran: Ran, runs: int) -> bool:
        """See Runs."""
        async with self._session() as session:
            published: bool = await session.value(
                "live_query_publish",
                query.channel,
                query.version,
                self._term,
                ran.result,
                ran.digest,
                runs,
                ran.at,
                ran.seconds,
            )
        return published

    async def report(
        self, query: LiveQuery, runs: int, at: datetime | None, seconds: float, failure: str | None
    ) -> None:
        """See Runs."""
        async with self._session() as session:
            await session.value(
                "live_query_report",
                query.channel,
                query.version,
                self._term,
                runs,
                at or datetime.now(UTC),
                seconds,
                failure,
            )

    def close(self) -> None:
        """Drop the connections."""
        while self._idle:
            self._idle.pop().terminate()

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Session]:
        """A connection that nobody else uses meanwhile. What breaks it is RunsAway."""
        session: Session | None = None
        try:
            while self._idle and session is None:
                session = self._idle.pop()
                if session.lost.is_set():
                    session = None
            if session is None:
                session = await connect(self._url, "notifiws live queries", relay=False)
                timeout = f"{max(1, round(self._seconds * 1000))}ms"
                await session.connection.fetch(loader.query("live_query_settings"), timeout, timeout=QUERY_SECONDS)
            yield session
        except QueryFailed:
            assert session is not None
            self._idle.append(session)
            raise
        except FAILURES as error:
            if session is not None:
                session.terminate()
            raise RunsAway(explain(error)) from error
        except BaseException:
            # Cancelled in the middle of something: the server ends it when it notices.
            if session is not None:
                session.terminate()
            raise
        else:
            self._idle.append(session)

    def _why(self, error: asyncpg.PostgresError, seconds: float) -> str:
        if isinstance(error, asyncpg.QueryCanceledError) and seconds > self._seconds * 0.9:
            return (
                f"it took longer than {self._seconds:g} s; make it quicker (an index, fewer rows), "
                "or raise NOTIFIWS_LIVE_QUERY_SECONDS"
            )
        code = getattr(error, "sqlstate", None) or ""
        hint = getattr(error, "hint", None)
        message = getattr(error, "message", None) or str(error)
        # Others read the log and /readyz than the table: an error about data quotes it, as notifiws.failure knows too.
        if code[:2] in _ABOUT_DATA:
            message = _QUOTED.sub('"…"', message)
        elif code == _RAISED:
            message, hint = "a function raised an exception (P0001)", None
        return f"{message}; {hint}" if hint else message
