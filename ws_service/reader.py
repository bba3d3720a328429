"""The Postgres adapter of a node: the few sessions that read the log, and why they cannot. The only one that needs it.

A node without `NOTIFIWS_READER_DATABASE_URL` has none, and is never unready for this one. Which rows make a page is
`log.py`'s business.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from db import loader
from shared.event import LogRow
from shared.logs import logger
from ws_service.ports import Cut, Key, LogAway, LogRefused, Questions, State

# So many questions at once, whatever the number of clients; others wait for their turn.
SESSIONS: Final = 4
_CONNECT_SECONDS: Final = 5.0
_QUERY_SECONDS: Final = 10.0
# After a failure nobody asks again for so long: a storm of resumes must not become one of connects.
_REST_SECONDS: Final = 1.0
_FAILURES: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
# What trying again does not mend.
_REFUSALS: Final = (
    asyncpg.InvalidPasswordError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.InvalidSchemaNameError,
)


class Session:
    """One connection, for one user at a time."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.connection = connection

    async def state(self) -> State:
        """See Questions."""
        rows = await self._ask("log_state")
        if not rows:
            raise LogRefused("schema notifiws was never migrated; run `notifiws migrate`")
        state = State(*rows[0])
        wanted = loader.schema_version()
        if state.schema_version < wanted or state.compatible_from > wanted:
            raise LogRefused(
                f"schema notifiws has version {state.schema_version}, this release reads version {wanted}; run "
                "`notifiws migrate`, or the release that migrated it"
            )
        return state

    async def cuts(self, first: int, last: int) -> list[Cut]:
        """See Questions."""
        return [Cut(*row) for row in await self._ask("log_snapshots", first, last)]

    async def keys(self, s1: str, s2: str, channel: str, *, after: int, up_to: int, limit: int) -> list[Key]:
        """See Questions."""
        return [Key(*row) for row in await self._ask("log_keys", s1, s2, channel, after, up_to, limit)]

    async def last_keys(self, s1: str, s2: str, channel: str, *, before: int, limit: int) -> list[Key]:
        """See Questions."""
        return [Key(*row) for row in await self._ask("log_last_keys", s1, s2, channel, before, limit)]

    async def rows(self, keys: Sequence[Key]) -> list[LogRow]:
        """See Questions."""
        found = await self._ask("log_rows", [key.tx for key in keys], [key.id for key in keys])
        return [LogRow(*row) for row in found]

    async def _ask(self, query: str, *args: Any) -> list[asyncpg.Record]:
        return await self.connection.fetch(loader.query(query), *args, timeout=_QUERY_SECONDS)


class Reader:
    """Gives sessions out, a few at a time, and keeps them open between uses."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._turns = asyncio.Semaphore(SESSIONS)
        self._idle: list[asyncpg.Connection[asyncpg.Record]] = []
        # After a failure: until when nobody asks, and what everybody is told meanwhile.
        self._resting: tuple[float, type[Exception], str] | None = None
        self._log = logger("reader")

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Questions]:
        """A session; waits for a free one. Raises LogAway, LogRefused."""
        async with self._turns:
            if self._resting is not None and asyncio.get_running_loop().time() < self._resting[0]:
                raise self._resting[1](self._resting[2])
            connection = None
            try:
                connection = await self._connection()
                yield Session(connection)
                if connection.is_closed():
                    return
                self._resting = None
                self._idle.append(connection)
                connection = None
            except LogAway:
                # The answer was too early, and the session is as good as before.
                if connection is not None and not connection.is_closed():
                    self._idle.append(connection)
                    connection = None
                raise
            except (*_FAILURES, LogRefused) as error:
                raise self._failed(error) from error
            finally:
                if connection is not None:
                    connection.terminate()

    async def close(self) -> None:
        """Drop what is open."""
        while self._idle:
            self._idle.pop().terminate()

    async def _connection(self) -> "asyncpg.Connection[asyncpg.Record]":
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        # No statement is kept in the session, so that a pooler may stand between.
        connection = await asyncpg.connect(
            self._url,
            timeout=_CONNECT_SECONDS,
            statement_cache_size=0,
            server_settings={"application_name": "notifiws reader"},
        )
        try:
            await connection.fetch(loader.query("reader_settings"), f"{_QUERY_SECONDS:g}s", timeout=_QUERY_SECONDS)
        except BaseException:
            connection.terminate()
            raise
        return connection

    def _failed(self, error: Exception) -> Exception:
        """What a failure means. Said once until it is over."""
        text = str(error) or type(error).__name__
        if isinstance(error, (LogRefused, *_REFUSALS)):
            failure: type[Exception] = LogRefused
            mend = "positions older than the Redis window are answered with `expired` until that is mended"
        else:
            failure = LogAway
            mend = "positions older than the Redis window wait for it"
        if self._resting is None:
            self._log.warning(f"the log cannot be read; {mend}", reason=text)
        self._resting = (asyncio.get_running_loop().time() + _REST_SECONDS, failure, text)
        return failure(text)
