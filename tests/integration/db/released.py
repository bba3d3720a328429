"""Released schemas as they were, and the listener that ran on them: what an upgrade starts from, and runs beside.

A folder of releases/ each: `tables.sql` (its migrations), `functions.sql` (functions, views, privileges), `queries.sql`
(its named queries). They are history: a release adds a folder and changes none.
"""

import asyncio
import re
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg

from tests.conftest import Database

HERE: Final = Path(__file__).with_name("releases")
RELEASED: Final = tuple(sorted(int(folder.name) for folder in HERE.iterdir() if folder.name.isdigit()))


class Release:
    """One released schema version."""

    def __init__(self, version: int) -> None:
        self.version = version
        self._folder = HERE / str(version)
        text = (self._folder / "queries.sql").read_text(encoding="utf-8")
        self.queries = dict(re.findall(r"^-- query (\w+)\n(.*?)(?=^-- query |\Z)", text, re.M | re.S))

    async def install(self, pg: "asyncpg.Connection[Any]") -> None:
        """As its `migrate` did on an empty database."""
        async with pg.transaction():
            await pg.execute(self.queries["migrate_settings"].replace("$1", "'1s'"))
            for name in ("tables", "functions"):
                await pg.execute((self._folder / f"{name}.sql").read_text(encoding="utf-8"))
            await pg.execute(
                "update notifiws.meta set functions_digest = 'of the release', schema_version = $1", self.version
            )


class OldListener:
    """What a release's listener asks of the log, in its own words, on sessions that cached their plans before."""

    def __init__(self, release: Release, database: Database) -> None:
        self._queries = release.queries
        self._database = database
        self.rows: list[asyncpg.Record] = []
        self.failures: list[str] = []
        self._stopping = asyncio.Event()

    async def _session(self) -> "asyncpg.Connection[Any]":
        session = await self._database.connect(max_cached_statement_lifetime=0)
        await session.fetch(self._queries["relay_settings"])
        return session

    async def run(self) -> None:
        """Lead until `stop`; then cut what is left."""
        relay = await self._session()
        assert await relay.fetchval(self._queries["leader_try_lock"])
        [meta] = await relay.fetch(self._queries["meta"])
        assert (meta["in_recovery"], meta["broken"]) == (False, None)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            while not self._stopping.is_set():
                await self._cut(relay)
                await asyncio.sleep(0.002)
        while await self._cut(relay):
            pass
        await relay.close()  # and with it the leader's lock

    def stop(self) -> None:
        """No more is written."""
        self._stopping.set()

    async def _cut(self, relay: "asyncpg.Connection[Any]") -> int:
        await self._sleep_a_moment(relay)
        rows = await relay.fetch(self._queries["cut"], 200, 1_000_000)
        if rows and rows[0]["more"]:
            rows = await self._pages(relay, rows[0]["tick"])
        self.rows += rows
        return len(rows)

    async def _sleep_a_moment(self, relay: "asyncpg.Connection[Any]") -> None:
        if await relay.fetchval(self._queries["doorbell_try_lock"]):
            assert await relay.fetchval(self._queries["doorbell_unlock"])

    async def _pages(self, relay: "asyncpg.Connection[Any]", tick: int) -> list[asyncpg.Record]:
        async with relay.transaction(isolation="repeatable_read", readonly=True):
            [found] = await relay.fetch(self._queries["tick"], tick)
            arguments = found["s1"], found["s2"], 0
            sizes = await relay.fetch(self._queries["tick_rows_narrow"], *arguments)
            rows = await relay.fetch(self._queries["tick_rows_wide"], *arguments)
        assert len(sizes) == len(rows)
        return rows

    async def _follow(self) -> None:
        session = await self._session()
        while not self._stopping.is_set():
            await session.fetchval(self._queries["refresh_watches"])
            await session.fetch(self._queries["adopted"])
            await session.fetch(self._queries["declared_channels"])
            await session.fetch(self._queries["adopt_payloads"], ["plain"], ["{}"])
            await session.fetch(self._queries["log_lag"])
            await session.fetch(self._queries["watches"])
            await session.fetchval(self._queries["rotate"], timedelta(hours=24))
            await asyncio.sleep(0.25)  # the release itself: every 3 s
