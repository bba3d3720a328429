"""The writers: many kinds of transactions, some of them rolled back, through every outage of the database.

They keep no account of what they did. An ordinary trigger does, in the same transaction (`sql/setup.sql`), so that the
truth is what the tables say. All chance comes from the seed; how transactions interleave does not.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from random import Random
from typing import Any, Final

import asyncpg

from notifiws.verify.spool import Spool
from notifiws.verify.statements import CHANNELS, SAYS, statement
from shared.backoff import backoff

# What may happen to a writer: the server is killed, its session is ended, a deadlock picks it, it waits too long.
FAILURES: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the driver's own word for a session whose cancelled statement is not over yet
    OSError,
    TimeoutError,
)
_STATEMENT_SECONDS: Final = 20.0
_PAUSE: Final = 0.03  # between a writer's transactions, at most
_HOT: Final = 4  # rows that all writers change
_KEPT: Final = 200  # rows that a writer leaves in a table
_TABLES: Final = tuple(CHANNELS)
Connection = Any  # asyncpg.Connection


async def connect(url: str, name: str) -> Connection:
    """A session of verify's own. Raises FAILURES."""
    return await asyncpg.connect(
        url,
        timeout=5,
        command_timeout=_STATEMENT_SECONDS,
        server_settings={"application_name": f"notifiws verify {name}"},
    )


class RolledBack(Exception):
    """A transaction that its writer takes back."""


class Writer:
    """One session that writes until `stopping`, then finishes its transaction."""

    def __init__(self, url: str, spool: Spool, number: int, seed: int, stopping: asyncio.Event) -> None:
        self._url = url
        self._spool = spool
        self._name = f"writer {number}"
        self._chance = Random(f"{seed} writer {number}")
        self._stopping = stopping
        self._rows: dict[str, list[int]] = {table: [] for table in _TABLES}
        self.hot: dict[str, list[int]] = {}

    async def run(self) -> None:
        """Write, and come back after each failure."""
        failures = 0
        while not self._stopping.is_set():
            connection = None
            try:
                connection = await connect(self._url, self._name)
                failures = 0
                while not self._stopping.is_set():
                    await self.transaction(connection)
                    await asyncio.sleep(self._chance.uniform(0, _PAUSE))
            except FAILURES:
                failures += 1
                await asyncio.sleep(backoff(failures, first=0.05, most=1.0))
            finally:
                if connection is not None:
                    connection.terminate()

    async def transaction(self, connection: Connection) -> None:
        """One transaction of a kind picked by chance. A deadlock or the like ends it, and the session goes on."""
        kinds = (self._one, self._several, self._both, self._key, self._savepoints, self._hot_rows, self._tidy)
        kind = self._chance.choices(kinds, (5, 4, 3, 2, 2, 3, 1))[0]
        with contextlib.suppress(RolledBack, asyncpg.DeadlockDetectedError):
            async with self._committed(connection):
                await kind(connection)
                if self._chance.random() < 0.1:
                    raise RolledBack

    @contextlib.asynccontextmanager
    async def _committed(self, connection: Connection) -> AsyncIterator[None]:
        """A transaction whose commit's times are recorded."""
        transaction = connection.transaction()
        await transaction.start()
        try:
            tx = int(await connection.fetchval(statement("transaction")))
            yield
        except BaseException:
            with contextlib.suppress(*FAILURES):
                await transaction.rollback()
            raise
        began = self._spool.now
        await transaction.commit()
        self._spool.committed_at(tx, began, self._spool.now)

    # Kinds

    async def _one(self, connection: Connection) -> None:
        await self._insert(connection, self._table())

    async def _several(self, connection: Connection) -> None:
        table = self._table()
        row = (await self._insert(connection, table))[0]
        for _ in range(self._chance.randint(1, 4)):
            await self._update(connection, table, [row])

    async def _both(self, connection: Connection) -> None:
        for table in _TABLES:
            rows = self._rows[table]
            if rows:
                await self._update(connection, table, [self._chance.choice(rows)])
        await self._say(connection)

    async def _key(self, connection: Connection) -> None:
        table = self._table()
        rows = self._rows[table]
        if rows:
            index = self._chance.randrange(len(rows))
            moved = await connection.fetchval(statement("move", table), rows[index])
            if moved is not None:
                rows[index] = moved

    async def _savepoints(self, connection: Connection) -> None:
        table = self._table()
        for _ in range(self._chance.randint(1, 3)):
            with contextlib.suppress(RolledBack):
                async with connection.transaction():
                    await self._insert(connection, table)
                    if self._chance.random() < 0.5:
                        raise RolledBack
        await self._say(connection)

    async def _hot_rows(self, connection: Connection) -> None:
        """Rows that everyone changes: their order across transactions is what is checked."""
        for table in _TABLES:
            hot = self.hot.get(table, [])
            # In one order, so that writers wait for each other and do not deadlock.
            for row in sorted(self._chance.sample(hot, min(2, len(hot)))):
                await self._update(connection, table, [row])

    async def _tidy(self, connection: Connection) -> None:
        table = self._table()
        rows = self._rows[table]
        gone = rows[: max(0, len(rows) - _KEPT)] or rows[: len(rows) // 2]
        await connection.execute(statement("delete", table), gone)
        self._rows[table] = rows[len(gone) :]

    # Statements

    async def _insert(self, connection: Connection, table: str, count: int = 1) -> list[int]:
        made = [row["id"] for row in await connection.fetch(statement("insert", table), count, self._note())]
        self._rows[table] += made
        return made

    async def _update(self, connection: Connection, table: str, rows: list[int]) -> None:
        await connection.execute(statement("update", table), rows, self._note())

    async def _say(self, connection: Connection) -> None:
        await say(connection, SAYS, await connection.fetchval(statement("stamp")), self._note())

    def _table(self) -> str:
        return self._chance.choice(_TABLES)

    def _note(self) -> str:
        return 'ñandú "€" 😀 ' + "n" * self._chance.choice((0, 3, 40, 40, 150, 2000))


class BulkWriter(Writer):
    """Many rows in one statement, and all of them again in the next."""

    async def transaction(self, connection: Connection) -> None:
        """See Writer."""
        table = self._table()
        with contextlib.suppress(RolledBack, asyncpg.DeadlockDetectedError):
            async with self._committed(connection):
                made = [
                    row["id"]
                    for row in await connection.fetch(
                        statement("insert", table), self._chance.choice((50, 300, 1500)), "bulk"
                    )
                ]
                if self._chance.random() < 0.2:
                    raise RolledBack
            async with self._committed(connection):
                await connection.execute(statement("update", table), made, "bulk again")
            async with self._committed(connection):
                await connection.execute(statement("delete", table), made)
        await _pause(self._stopping, self._chance.uniform(2, 6))


class SlowWriter(Writer):
    """Transactions that stay open for seconds: others commit around them, before and after in the log."""

    async def transaction(self, connection: Connection) -> None:
        """See Writer."""
        table = self._table()
        with contextlib.suppress(RolledBack, asyncpg.DeadlockDetectedError):
            async with self._committed(connection):
                [row, *_] = await self._insert(connection, table, 3)
                await self._say(connection)
                await _pause(self._stopping, self._chance.choice((0.2, 1, 3, 6)))
                await self._update(connection, table, [row])
                if self._chance.random() < 0.25:
                    raise RolledBack


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopping.wait()


async def say(connection: Connection, channel: str, stamp: int, note: str = "") -> None:
    """Emit, and note it in the audit trail, in the transaction that is open."""
    await connection.execute(statement("say"), channel, stamp, note)


class Speaker:
    """Emits single events whose outcome is always known in the end, however often the database goes away meanwhile."""

    def __init__(self, url: str, spool: Spool, name: str) -> None:
        self._url = url
        self._spool = spool
        self._name = name
        self._connection: Connection = None

    async def say(self, channel: str) -> int:
        """Commit one event; returns its stamp. Waits for the database as long as it takes."""
        stamp: int | None = None
        failures = 0
        while True:
            try:
                connection = await self._connected()
                if stamp is None:
                    stamp = int(await connection.fetchval(statement("stamp")))
                async with connection.transaction():
                    # An attempt whose answer was lost may be committing still.
                    await connection.execute(statement("lock"), stamp)
                    if await connection.fetchval(statement("said"), stamp):
                        return stamp
                    tx = int(await connection.fetchval(statement("transaction")))
                    await say(connection, channel, stamp)
                    began = self._spool.now
                self._spool.committed_at(tx, began, self._spool.now)
                return stamp
            except FAILURES:
                self.close()
                failures += 1
                await asyncio.sleep(backoff(failures, first=0.05, most=1.0))

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(self._url, self._name)
        return self._connection

    def close(self) -> None:
        """End the session."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


async def prepare(url: str) -> None:
    """Make verify's tables and watches. Raises FAILURES."""
    connection = await connect(url, "setup")
    try:
        await connection.execute(statement("setup"))
    finally:
        await connection.close()


async def hot_rows(url: str) -> dict[str, list[int]]:
    """Insert the rows that all writers change; returns their ids by table. Raises FAILURES."""
    connection = await connect(url, "setup")
    try:
        return {
            table: [row["id"] for row in await connection.fetch(statement("insert", table), _HOT, "hot")]
            for table in _TABLES
        }
    finally:
        await connection.close()


async def read_truth(url: str, spool: Spool) -> None:
    """What the tables say, into the history; tried again while the database is away."""
    failures = 0
    while True:
        try:
            connection = await connect(url, "truth")
            try:
                for kind in ("truths", "finals", "ticks"):
                    async with connection.transaction(isolation="repeatable_read", readonly=True):
                        with spool.truth(kind) as write:
                            async for row in connection.cursor(statement(kind), prefetch=5_000):
                                write(tuple(row))
                return
            finally:
                connection.terminate()
        except FAILURES:
            failures += 1
            if failures > 20:
                raise
            await asyncio.sleep(backoff(failures, first=0.1, most=2.0))


async def drop(url: str) -> None:
    """Remove what `prepare` made. Raises FAILURES."""
    connection = await connect(url, "drop")
    try:
        await connection.execute(statement("drop"))
    finally:
        await connection.close()
