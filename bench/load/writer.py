"""A load process: inserts numbered rows, each its own transaction, and notes when it was due, sent, and committed.

Settings: `database_url`, `statement` ($1 the number, $2 the text), `text`, `first`, `rows`, `file`, and either
`pause` (least and most seconds between rows: one writer, nothing else going on) or `rate` (rows a second, open loop:
a late row does not push back the next) over `connections`. States: `ready`, `done` after the order to go.
"""

import asyncio
import random
from array import array
from collections.abc import Awaitable
from itertools import count
from time import time
from typing import Any, Protocol

import asyncpg

from bench.load.process import Settings, cpu_seconds, order, report, run, store


class _Insert(Protocol):
    """A prepared INSERT on one connection."""

    async def fetch(self, *arguments: Any) -> Any:
        """Run it, in a transaction of its own."""


class _Write(Protocol):
    def __call__(self, insert: _Insert, index: int, due: float | None = None) -> Awaitable[None]: ...


async def main(settings: Settings, orders: asyncio.StreamReader) -> None:
    """Connect, wait for the word, write, report."""
    connections = [await asyncpg.connect(settings["database_url"]) for _ in range(settings.get("connections", 1))]
    inserts = [await connection.prepare(settings["statement"]) for connection in connections]
    report("ready")
    await order(orders)
    rows = settings["rows"]
    dues, before, after = (array("d", bytes(8 * rows)) for _ in range(3))

    async def write(insert: _Insert, index: int, due: float | None = None) -> None:
        before[index] = time()
        dues[index] = before[index] if due is None else due
        await insert.fetch(settings["first"] + index, settings["text"])
        after[index] = time()

    began, cpu = time(), cpu_seconds()
    if "rate" in settings:
        numbers = count()
        late = max(await asyncio.gather(*(_paced(write, each, numbers, began, settings) for each in inserts)))
    else:
        late = 0.0
        chance = random.Random(1)
        for index in range(rows):
            await asyncio.sleep(chance.uniform(*settings["pause"]))
            await write(inserts[0], index)
    store(settings["file"], dues, before, after)
    report("done", cpu_seconds=cpu_seconds() - cpu, wall_seconds=time() - began, late_seconds=late)
    for connection in connections:
        await connection.close()


async def _paced(write: _Write, insert: _Insert, numbers: "count[int]", began: float, settings: Settings) -> float:
    """One connection's share: the next row that is due, until all are written. Returns the greatest delay, seconds."""
    late = 0.0
    while (index := next(numbers)) < settings["rows"]:
        due = began + index / settings["rate"]
        if (ahead := due - time()) > 0:
            await asyncio.sleep(ahead)
        late = max(late, time() - due)
        await write(insert, index, due)
    return late


if __name__ == "__main__":
    run(main)
