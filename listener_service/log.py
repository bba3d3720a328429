"""The Postgres adapter of the log: everything goes through the one session that holds the leader lock."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

import asyncpg

from db import loader
from listener_service.ports import Cut, LeadershipLost, Tick, Window
from listener_service.session import FAILURES, QUERY_SECONDS, Session, explain
from shared.event import LogRow

# A cut up to this size is answered whole, a larger one is paged.
CUT_ROWS: Final = 5_000
CUT_BYTES: Final = 4_000_000
PAGE_ROWS: Final = 1_000
PAGE_BYTES: Final = 1_000_000
# Before its first row a page may have to wait for the sort of a whole backlog.
PAGE_SECONDS: Final = 600.0
CUT_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Meta:
    """The log's own words about itself. `broken`: why it can't be gone on with, None while it can."""

    epoch: str
    in_recovery: bool
    broken: str | None


@contextmanager
def _or_lost() -> Iterator[None]:
    try:
        yield
    except FAILURES as error:
        raise LeadershipLost(explain(error)) from error


class PostgresLog:
    """See Log."""

    def __init__(self, session: Session, max_event_bytes: int = 64 * PAGE_BYTES) -> None:
        """Of rows beyond `max_event_bytes` only the head is read: see LogRow.left_out."""
        self._session = session
        self._max_event_bytes = max_event_bytes

    async def meta(self) -> Meta:
        """Which history this is."""
        with _or_lost():
            [row] = await self._session.rows("meta")
        return Meta(row["epoch"], row["in_recovery"], row["broken"])

    async def start_epoch(self) -> str:
        """Begin a new epoch; returns its name."""
        with _or_lost():
            name: str = await self._session.value("start_epoch", timeout=PAGE_SECONDS)
        return name

    async def last_tick(self) -> Tick | None:
        """See Log."""
        with _or_lost():
            [last] = await self._session.rows("last_tick")
            # The first one of an epoch has no predecessor and no events.
            found = await self._session.rows("tick", last["number"])
        return Tick(found[0]["number"], found[0]["at"]) if found else None

    async def cut(self) -> Cut | None:
        """See Log."""
        with _or_lost():
            # What might hold a row that is left out is paged.
            most = min(CUT_BYTES, self._max_event_bytes)
            rows = await self._session.rows("cut", CUT_ROWS, most, timeout=CUT_SECONDS)
        if not rows:
            return None
        number, at, _, more = rows[0][:4]
        return Cut(Tick(number, at), None if more else [LogRow(*row[4:]) for row in rows])

    @asynccontextmanager
    async def pages(self, tick: Tick, after: int) -> AsyncIterator[AsyncIterator[Sequence[LogRow]]]:
        """See Log."""
        connection, turn = self._session.connection, self._session.turn
        with _or_lost():
            # Whoever wants a turn in between (the pings) speaks inside this transaction.
            transaction = connection.transaction(isolation="repeatable_read", readonly=True)
            async with turn(), asyncio.timeout(QUERY_SECONDS):
                await transaction.start()
            try:
                async with turn(), asyncio.timeout(QUERY_SECONDS):
                    found = await connection.fetchrow(loader.query("tick"), tick.number)
                    if found is None:
                        raise LeadershipLost(f"tick {tick.number} is no longer in the log")
                    arguments = found["s1"], found["s2"], after
                    sizes = await connection.cursor(loader.query("tick_rows_narrow"), *arguments)
                    rows = await connection.cursor(loader.query("tick_rows_wide"), *arguments, self._max_event_bytes)
                yield self._pages(sizes, rows)
            finally:
                if not connection.is_closed():
                    async with turn(), asyncio.timeout(QUERY_SECONDS):
                        await transaction.rollback()

    async def _pages(
        self, sizes: "asyncpg.cursor.Cursor[asyncpg.Record]", rows: "asyncpg.cursor.Cursor[asyncpg.Record]"
    ) -> AsyncIterator[Sequence[LogRow]]:
        turn = self._session.turn
        coming: deque[int] = deque()
        more = True
        while True:
            if more and len(coming) < PAGE_ROWS:
                async with turn():
                    found = await sizes.fetch(PAGE_ROWS, timeout=PAGE_SECONDS)
                # A row that is left out comes without its texts.
                coming.extend(size if (size := row["bytes"]) <= self._max_event_bytes else 0 for row in found)
                more = len(found) == PAGE_ROWS
            count, size = 0, 0
            while coming and count < PAGE_ROWS and (count == 0 or size + coming[0] <= PAGE_BYTES):
                size += coming.popleft()
                count += 1
            if count == 0:
                return
            yield await self._page(rows, count)  # no name keeps it here: a page may be one very large row

    async def _page(self, rows: "asyncpg.cursor.Cursor[asyncpg.Record]", count: int) -> Sequence[LogRow]:
        async with self._session.turn():
            return [LogRow(*row) for row in await rows.fetch(count, timeout=PAGE_SECONDS)]

    async def window(self, seconds: float) -> Window:
        """See Log."""
        with _or_lost():
            [row] = await self._session.rows("log_window", seconds)
        return Window(*row)

    async def tick(self, number: int) -> Tick | None:
        """See Log."""
        with _or_lost():
            found = await self._session.rows("tick", number)
        return Tick(found[0]["number"], found[0]["at"]) if found else None

    async def adopt(self, payloads: Sequence[tuple[str, str]]) -> None:
        """See Log."""
        with _or_lost():
            await self._session.rows(
                "adopt_payloads", [channel for channel, _ in payloads], [payload for _, payload in payloads]
            )

    async def confirm(self) -> None:
        """See Log."""
        with _or_lost():
            await self._session.value("ping", timeout=2.0)
