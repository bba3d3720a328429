"""A Postgres connection of our own, never pooled: a dead, half-open or frozen end of it is noticed within seconds.

Dead and half-open: TCP keepalive and user timeout on both sides. Frozen (the kernel still answers): the server ends a
session that is idle for longer than its owner's pings allow, and each query has a timeout here.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, Final

import asyncpg

from db import loader

CONNECT_SECONDS: Final = 5.0
QUERY_SECONDS: Final = 10.0
# The owner pings every 2 s; the lock of a stopped process is free after these.
IDLE_TIMEOUT: Final = "6s"
_SERVER_SETTINGS: Final = {
    "tcp_keepalives_idle": "2",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "5000",
    "statement_timeout": "0",
    "timezone": "UTC",
}
# InternalClientError: what the driver says of a query after a FATAL that came unasked, as at a shutdown.
FAILURES: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)


class PoolerFound(Exception):
    """The address is a pooler's: LISTEN and session locks need a server session of their own."""

    def __init__(self, how: str) -> None:
        super().__init__(
            f"DATABASE_URL leads to a connection pooler ({how}); the listener needs LISTEN and session locks, so give "
            "it Postgres' own address, or a pooler's port in session mode"
        )


class Session:
    """One connection; its users take turns."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.connection = connection
        self._turn = asyncio.Lock()
        self.busy_since: float | None = None
        self.lost = asyncio.Event()
        connection.add_termination_listener(self._terminated)

    def _terminated(self, *_: object) -> None:
        self.lost.set()

    @asynccontextmanager
    async def turn(self) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
        """The connection, for one user at a time."""
        async with self._turn:
            self.busy_since = monotonic()
            try:
                yield self.connection
            finally:
                self.busy_since = None

    async def rows(self, query: str, *args: Any, timeout: float = QUERY_SECONDS) -> list[asyncpg.Record]:
        """Run a named query. Raises FAILURES."""
        async with self.turn() as connection:
            return await connection.fetch(loader.query(query), *args, timeout=timeout)

    async def value(self, query: str, *args: Any, timeout: float = QUERY_SECONDS) -> Any:
        """Run a named query and return the first column of its first row. Raises FAILURES."""
        async with self.turn() as connection:
            return await connection.fetchval(loader.query(query), *args, timeout=timeout)

    def terminate(self) -> None:
        """Drop the connection at once; the server frees its locks when it notices."""
        self.connection.terminate()

    async def close(self) -> None:
        """End the session politely, within 2 s: its locks are free afterwards."""
        with contextlib.suppress(*FAILURES):
            await self.connection.close(timeout=2.0)


@asynccontextmanager
async def open_session(url: str, name: str) -> AsyncIterator[Session]:
    """A session called `name` in pg_stat_activity, guarded, and dropped at the end. Raises FAILURES, PoolerFound."""
    session = await connect(url, name)
    try:
        yield session
    finally:
        session.terminate()


async def connect(url: str, name: str, *, relay: bool = True) -> Session:
    """See `open_session`; the caller ends it. `relay` False: with neither the relay's settings nor its guard."""
    connection = await _connect(url, name)
    try:
        _guard_socket(connection)
        if relay:
            await connection.fetch(loader.query("relay_settings"), timeout=QUERY_SECONDS)
            await connection.fetch(loader.query("guard_settings"), IDLE_TIMEOUT, timeout=QUERY_SECONDS)
    except BaseException:
        connection.terminate()
        raise
    return Session(connection)


async def _connect(url: str, name: str) -> "asyncpg.Connection[asyncpg.Record]":
    try:
        return await asyncpg.connect(
            url,
            timeout=CONNECT_SECONDS,
            max_cached_statement_lifetime=0,
            server_settings=_SERVER_SETTINGS | {"application_name": name},
        )
    except asyncpg.PostgresError as error:
        if "startup parameter" in str(error):  # PgBouncer's words for settings that Postgres knows
            raise PoolerFound(str(error)) from error
        raise


async def refuse_pooler(url: str) -> None:
    """Raise PoolerFound when a session is served by more than one server process. Raises FAILURES too.

    A pooler in transaction mode hands out a server process a transaction, the last or the longest returned one: after
    two sessions were inside one at once, a few more transactions of the first meet another process in either case.
    """
    first = await _connect(url, "notifiws pooler check")
    try:
        second = await _connect(url, "notifiws pooler check")
        try:
            async with second.transaction():
                other = await _pid(second)
                pids = {await _pid(first)}
            for _ in range(3):
                pids.add(await _pid(first))
        finally:
            second.terminate()
    except (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError) as error:
        raise PoolerFound(f"a prepared statement was lost: {str(error).splitlines()[0]}") from error
    except asyncpg.PostgresError as error:
        if "statement pooling" in str(error):  # PgBouncer's words for a transaction in that mode
            raise PoolerFound(str(error)) from error
        raise
    finally:
        first.terminate()
    if len(pids) > 1 or other in pids:
        raise PoolerFound("one session was served by two server processes")


async def _pid(connection: "asyncpg.Connection[asyncpg.Record]") -> int:
    if connection.is_in_transaction():
        pid: int = await connection.fetchval(loader.query("backend_pid"), timeout=QUERY_SECONDS)
        return pid
    async with connection.transaction():
        return await _pid(connection)


def _guard_socket(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Our side's keepalive and user timeout; asyncpg sets none."""
    transport: asyncio.Transport = connection._transport  # type: ignore[attr-defined]
    found = transport.get_extra_info("socket")
    if found is None or found.family not in (socket.AF_INET, socket.AF_INET6):
        return
    # uvloop's socket object takes no options; a duplicate of the descriptor does, for the same socket.
    with socket.fromfd(found.fileno(), found.family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (
            ("TCP_KEEPIDLE", 2),
            ("TCP_KEEPINTVL", 1),
            ("TCP_KEEPCNT", 3),
            ("TCP_USER_TIMEOUT", 5000),
        ):
            if hasattr(socket, option):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


_MENDS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (asyncpg.InvalidPasswordError, "Postgres refuses the password; mend DATABASE_URL"),
    (asyncpg.InvalidAuthorizationSpecificationError, "Postgres refuses the role; mend DATABASE_URL or pg_hba.conf"),
    (asyncpg.InvalidCatalogNameError, "there is no such database; create it or mend DATABASE_URL"),
    (
        asyncpg.ReadOnlySQLTransactionError,
        "Postgres is a standby server; point DATABASE_URL at the primary, or promote it",
    ),
    (asyncpg.CannotConnectNowError, "Postgres is starting or stopping; it will answer by itself"),
    (asyncpg.TooManyConnectionsError, "Postgres has no free connection; raise max_connections"),
    (asyncpg.InsufficientPrivilegeError, "the role may not do that; connect as the database's owner"),
    (TimeoutError, "Postgres does not answer in time; it is frozen, overloaded or cut off"),
    (OSError, "Postgres is not reached; start it, or mend DATABASE_URL"),
)


def explain(error: BaseException) -> str:
    """What a failure means and what mends it, for /readyz and the log. Holds no secret."""
    for kind, mend in _MENDS:
        if isinstance(error, kind):
            return f"{mend} ({error})" if str(error) else mend
    return f"Postgres: {error}"
