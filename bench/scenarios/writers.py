"""What watching a table costs the writers of it: eight of them, one row a commit, durable.

Set-up. An embedded Postgres with fsync as it ships and four tables alike: without a trigger, watched while a relay
leads, watched while none is alive, and with the usual row trigger (`pg_notify` of `row_to_json(NEW)`, one session
listening). pgbench, which is cheap, writes from eight connections with prepared statements: first INSERTs, then UPDATEs
of one column at random keys, each statement a transaction of its own. The tables are emptied and filled alike before.

The four take turns within each round, beginning with another one every time, and each share is taken within its round:
commits a second beside those of the table without a trigger. The relay is started before its table's turn and ended
after it; it, Redis, and pgbench have the same cores as Postgres: what they take is missing to the writers, as on a
machine of two cores it would be. `cpu` says how much of them pgbench and Postgres had, all processes together.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import asyncpg
import psutil

from bench.database import Database, database
from bench.figures import Figures
from bench.rounds import order
from bench.scenario import Column, Field, Goal, Line, Options, Scenario, Table
from bench.statements import statement

WRITERS = 8
ROWS = 20_000
TEXT = "'" + "n" * 150 + "'"
NAME = "8 writers"
BARE, AWAKE, ALONE, NOTIFY = "bare", "awake", "alone", "notify"
_LABELS = {
    BARE: "no trigger",
    AWAKE: "watched, a relay leads",
    ALONE: "watched, no relay alive",
    NOTIFY: "the usual way: pg_notify a row",
}
_KINDS = {"insert": "INSERT", "update": "UPDATE"}


@dataclass(slots=True)
class Writers:
    """All four tables, one after the other."""

    database: Database
    seconds: float
    rows: int
    rounds: int = field(default=0)

    @property
    def name(self) -> str:
        """As the table calls it."""
        return NAME

    async def round(self) -> Figures:
        """Each table's commits a second, and its share of the bare one's."""
        self.rounds += 1
        figures: Figures = {}
        tables = list(_LABELS)
        for turn in order(len(tables), self.rounds):
            async with AsyncExitStack() as stack:
                if tables[turn] == AWAKE:
                    await stack.enter_async_context(self.database.relay())
                if tables[turn] == NOTIFY:
                    await stack.enter_async_context(_listening(self.database))
                for kind in _KINDS:
                    figures |= await self._measure(tables[turn], kind)
        for kind in _KINDS:
            for table in tables:
                share = figures[f"{kind}.{table}.commits_per_second"] / figures[f"{kind}.{BARE}.commits_per_second"]
                figures[f"{kind}.{table}.share_percent"] = share * 100
        return figures

    async def _measure(self, table: str, kind: str) -> Figures:
        words = {"table": f"bench_{table}", "text": TEXT, "rows": self.rows}
        connection = await self.database.connect()
        try:
            await connection.execute(statement("writers_refill").format(**words))
        finally:
            await connection.close()
        script = statement(f"writers_{kind}").format(**words)
        await self.database.pgbench(script, clients=WRITERS, seconds=1.0)  # warm caches, and a relay that is awake
        before = psutil.cpu_times()
        rate = await self.database.pgbench(script, clients=WRITERS, seconds=self.seconds)
        after = psutil.cpu_times()
        spent = sum(after) - sum(before)
        idle = after.idle + after.iowait - before.idle - before.iowait
        return {
            f"{kind}.{table}.commits_per_second": rate,
            f"{kind}.{table}.cpu_percent": 100 * (spent - idle) / spent if spent else 0.0,
        }


@asynccontextmanager
async def _listening(database: Database) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """The usual way's listener, which reads what it is sent and does nothing with it."""
    connection = await database.connect()
    try:
        await connection.add_listener("usual_channel", lambda *_: None)
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def _open(options: Options) -> AsyncIterator[Field]:
    seconds, rows = (1.0, 1_000) if options.quick else (6.0, ROWS)
    async with database() as ours:
        connection = await ours.connect()
        try:
            await connection.execute(statement("writers"))
            postgres = connection.get_settings().server_version
        finally:
            await connection.close()
        yield Field(
            [Writers(ours, seconds, rows)],
            {"postgres": postgres},
            {"writers": WRITERS, "seconds": seconds, "rows": rows, "text_bytes": len(TEXT) - 2},
        )


SCENARIO = Scenario(
    name="writers",
    method=__doc__,
    open=_open,
    tables=[
        Table(
            f"{word}s of one row a commit, 8 writers",
            [Line(label, NAME, f"{kind}.{table}.") for table, label in _LABELS.items()],
            [
                Column("commits/s", "commits_per_second", 0),
                Column("% of no trigger", "share_percent", 1),
                Column("machine's CPU %", "cpu_percent", 0),
            ],
        )
        for kind, word in _KINDS.items()
    ],
    goals=[
        Goal(
            f"{word}, {_LABELS[table]}: ≥ 85 % of the commits/s",
            NAME,
            f"{kind}.{table}.share_percent",
            85.0,
            "at least",
        )
        for kind, word in _KINDS.items()
        for table in (AWAKE, ALONE)
    ],
)
