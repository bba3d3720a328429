"""What a captured row costs: in bulk, by its width, and with several watches on its table.

Bulk. `notifiws up --no-demo` with one node. One statement inserts 200,000 rows, first into a table without a trigger,
then into a watched one: rows a second each, commit included. One `notifiws.v1` client is subscribed meanwhile; events a
second is all rows over the time from the commit's return until the client has the last one, and it must have had every
one once, in order, without a gap. The listener's resident memory is read every 20 ms from the insert to the end; `grew`
is its greatest less what it was before the round.

One row a statement. On an embedded Postgres without a relay, plpgsql inserts and then updates (one column of three)
one row after the other in one transaction, so that neither a commit's fsync nor a client is in the figure: microseconds
a statement, of the table as it is and watched; `capture` is the difference. The text is 50 bytes to 50 KB and is kept
out of line as it is; an update's event holds the whole new row, and of the old one what changed. With several watches
the row is 200 bytes.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from time import time
from typing import Any

import asyncpg
import psutil

from bench.child import Child
from bench.database import Database, database
from bench.figures import Figures
from bench.load.process import load
from bench.scenario import BenchError, Column, Contender, Field, Goal, Line, Options, Scenario, Table
from bench.stack import RunningStack, stack
from bench.statements import statement

BULK, SINGLE = "200,000 rows in one statement", "one row a statement"
TEXT = "n" * 150
WIDTHS = {50: "50 B", 500: "500 B", 5_000: "5 KB", 50_000: "50 KB"}
WATCHES = (1, 3, 10)
_WIDTH_OF_WATCHES = 200
_MEMORY_TURN = 0.02
_WARM_SECONDS = 20.0
_CHECKED = ("lost", "duplicated", "foreign", "gaps", "dropped")


@dataclass(slots=True)
class Bulk:
    """One big statement, to the last event at a client."""

    stack: RunningStack
    rows: int
    numbers: "count[int]" = field(default_factory=lambda: count(1))

    @property
    def name(self) -> str:
        """As the table calls it."""
        return BULK

    async def round(self) -> Figures:
        """Into the bare table, then into the watched one with a client on its channel."""
        connection = await asyncpg.connect(self.stack.database_url)
        try:
            fill = statement("capture_fill")
            await connection.execute(statement("capture_empty"))
            began = time()
            await connection.execute(fill.format(table="bench_bulk_bare"), 1, self.rows, TEXT)
            figures = {"bare.rows_per_second": self.rows / (time() - began)}
            return figures | await self._watched(connection, fill.format(table="bench_bulk"))
        finally:
            await connection.close()

    async def _watched(self, connection: Any, fill: str) -> Figures:
        warm = next(self.numbers)
        first = warm + 1_000
        self.numbers = count(first + self.rows)
        file = str(self.stack.folder / "bulk.samples")
        node = self.stack.nodes[0]
        client = await Child.start(
            "bench.load.subscriber",
            {"first": first, "rows": self.rows, "clients": 1, "file": file}
            | {"host": node.host, "port": node.port, "path": "/ws", "channel": "bench-bulk", "v1": True},
        )
        try:
            await client.hear("open", 30)
            warmed = asyncio.ensure_future(client.hear("warm", _WARM_SECONDS))
            while not warmed.done():
                await connection.execute(fill, warm, 1, TEXT)
                warm += 1
                await asyncio.wait([warmed], timeout=0.05)
            warmed.result()
            memory = _Memory(self.stack.listener_pid)
            began = time()
            await connection.execute(fill, first, self.rows, TEXT)
            committed = time()
            await client.say({"quiet": 10.0, "limit": 120.0})
            got = await client.hear("done", 150)
            grew = await memory.grew()
        finally:
            await client.stop()
        (arrivals,) = load(file, 1)
        return {
            "watched.rows_per_second": self.rows / (committed - began),
            "watched.events_per_second": self.rows / max(max(arrivals) - committed, 1e-9),
            "watched.first_ms": (min(each for each in arrivals if each) - committed) * 1e3 if got["lost"] == 0 else 0.0,
            "watched.listener_grew_mb": grew,
            "watched.cpu.client": got["cpu_seconds"] / got["wall_seconds"] * 100,
        } | {f"watched.{name}": float(got[name]) for name in _CHECKED}


class _Memory:
    """The greatest resident memory of a process from now on, less what it is now."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._before = self._most = self._process.memory_info().rss
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_MEMORY_TURN)
            self._most = max(self._most, self._process.memory_info().rss)

    async def grew(self) -> float:
        """Megabytes; ends the watching. Raises BenchError where the process is gone."""
        if self._watching.done():
            raise BenchError("the listener is gone")
        self._watching.cancel()
        return (self._most - self._before) / 1e6


@dataclass(slots=True)
class Singles:
    """Statements of one row, by width and by number of watches."""

    database: Database
    rows: int

    @property
    def name(self) -> str:
        """As the table calls it."""
        return SINGLE

    async def round(self) -> Figures:
        """Each width bare and watched, then each number of watches."""
        figures: Figures = {}
        for width in WIDTHS:
            rows = max(self.rows // 10, 10) if width >= 5_000 else self.rows
            figures |= _cost(f"width.{width}", await self._measure(width, 0, rows), await self._measure(width, 1, rows))
        bare = await self._measure(_WIDTH_OF_WATCHES, 0, self.rows)
        for watches in WATCHES:
            watched = await self._measure(_WIDTH_OF_WATCHES, watches, self.rows)
            figures |= _cost(f"watches.{watches}", bare, watched)
        return figures

    async def _measure(self, width: int, watches: int, rows: int) -> tuple[float, float]:
        connection = await self.database.connect()
        try:
            await connection.execute(statement("capture_rows").format(watches=watches))
            singles = statement("capture_singles")
            took = None
            # The first call plans; its rows are taken back, and so are those that count: the log stays small.
            for number in (10, rows):
                await connection.execute(singles.replace("{rows}", str(number)).replace("{bytes}", str(width)))
                transaction = connection.transaction()
                await transaction.start()
                took = await connection.fetchrow("SELECT * FROM pg_temp.bench_singles()")
                await transaction.rollback()
            await connection.execute(statement("capture_unwatch"))
            assert took is not None
            return took["insert_us"], took["update_us"]
        finally:
            await connection.close()


def _cost(prefix: str, bare: tuple[float, float], watched: tuple[float, float]) -> Figures:
    figures: Figures = {}
    for place, kind in enumerate(("insert", "update")):
        figures |= {
            f"{prefix}.{kind}.bare_us": bare[place],
            f"{prefix}.{kind}.watched_us": watched[place],
            f"{prefix}.{kind}.capture_us": watched[place] - bare[place],
        }
    return figures


@asynccontextmanager
async def _open(options: Options) -> AsyncIterator[Field]:
    bulk, singles = (2_000, 100) if options.quick else (200_000, 20_000)
    async with stack(nodes=1) as ours, database() as alone:
        connection = await asyncpg.connect(ours.database_url)
        try:
            await connection.execute(statement("capture_bulk"))
            postgres = connection.get_settings().server_version
        finally:
            await connection.close()
        contenders: list[Contender] = [Bulk(ours, bulk), Singles(alone, singles)]
        yield Field(
            contenders,
            {"postgres": postgres},
            {"bulk_rows": bulk, "single_rows": singles, "bulk_text_bytes": len(TEXT), "widths": list(WIDTHS)},
        )


_COSTS = [
    Column(f"{kind} {name}", f"{kind}.{name}_us", 1) for kind in ("insert", "update") for name in ("bare", "capture")
]

SCENARIO = Scenario(
    name="capture",
    method=__doc__,
    open=_open,
    tables=[
        Table(
            BULK,
            [Line("no trigger", BULK, "bare."), Line("watched", BULK, "watched.")],
            [
                Column("rows/s", "rows_per_second", 0),
                Column("events/s at a client", "events_per_second", 0),
                Column("listener grew MB", "listener_grew_mb", 1),
                Column("client's CPU %", "cpu.client", 0),
            ],
        ),
        Table(
            "One row a statement, by the row's width, µs",
            [Line(label, SINGLE, f"width.{width}.") for width, label in WIDTHS.items()],
            _COSTS,
        ),
        Table(
            f"One row of {_WIDTH_OF_WATCHES} B a statement, by watches on its table, µs",
            [Line(str(watches), SINGLE, f"watches.{watches}.") for watches in WATCHES],
            _COSTS,
        ),
    ],
    goals=[
        Goal("bulk: ≥ 100,000 rows/s captured", BULK, "watched.rows_per_second", 100_000, "at least"),
        Goal("bulk: ≥ 50,000 events/s at a client", BULK, "watched.events_per_second", 50_000, "at least"),
        Goal("bulk: the listener grows by ≤ 64 MB", BULK, "watched.listener_grew_mb", 64),
    ],
    zero={BULK: [f"watched.{name}" for name in _CHECKED]},
)
