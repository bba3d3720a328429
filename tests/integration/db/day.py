"""Simulated days of the log while a snapshot is held: what it takes on disk, and what a cut costs, slot by slot.

Time is compressed: each step is one slot of four hours, in which `notifiws.slot()` stands still, with a number of rows
inserted straight into the log as capture inserts them, cut as the relay cuts them, and rotated at its end. Held all the
time: a repeatable-read snapshot, a transaction with an id of its own, and a logical replication slot.

    python -m tests.integration.db.day ROWS_PER_SLOT ROWS_PER_TICK SLOTS    (prints a table; uses a server of its own)
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

from db import loader
from db.migrate import migrate
from notifiws.stack.postgres import PostgresServer

# A day is six slots, and eight are there.
DAY = 6


class Slot(NamedTuple):
    """Measured at the end of a slot, after its rotation."""

    megabytes: float
    dead_rows: int
    cut_ms: float  # median
    cut_blocks: int  # buffers that the slot's last cut touched
    rotate_ms: float
    emptied: int


_INSERT = """
insert into notifiws.outbox (slot, channel, op, source, key, new, bytes, at)
select notifiws.slot(), 'ventas', 'insert', 'public.ventas', format('{"id":%s}', n),
       format('{"id":%s,"producto_id":%s,"cantidad":3,"total":149.90,"creada":"2026-11-24T10:00:00Z"}', n, n % 500),
       100, clock_timestamp()
from generate_series($1::bigint + 1, $1 + $2::bigint) n
"""


async def hold(reader: "asyncpg.Connection[Any]", writer: "asyncpg.Connection[Any]") -> None:
    """Hold, until the connections end, a replication slot, a snapshot, and a transaction that has written."""
    # First: its making waits for open transactions.
    await reader.fetch("select pg_create_logical_replication_slot('held', 'pgoutput')")
    await writer.execute("create table held (x int)")
    # Not of the log: who reads that (a pg_dump) keeps its slots from being emptied until it is done.
    await reader.execute("begin isolation level repeatable read; select * from held")
    await writer.execute("begin; insert into held values (1)")


async def simulate(pg: "asyncpg.Connection[Any]", rows: int, rows_per_tick: int, slots: int) -> list[Slot]:
    """Run that many slots, on the owner's connection."""
    await pg.fetch(loader.query("relay_settings"))
    cut = loader.query("cut")
    began: list[float] = []
    found: list[Slot] = []
    number = 0
    for step in range(slots):
        await pg.execute(
            "create or replace function notifiws.slot() returns smallint language sql volatile parallel safe "
            f"return {step % 8}::smallint"
        )
        began.append(time.monotonic())
        times = []
        for _ in range(rows // rows_per_tick):
            await pg.execute(_INSERT, number, rows_per_tick)
            number += rows_per_tick
            started = time.monotonic()
            assert len(await pg.fetch(cut, 5_000, 4_000_000)) == rows_per_tick
            times.append(time.monotonic() - started)
        await pg.execute(_INSERT, number, 100)
        number += 100
        [[plan]] = await pg.fetch(f"explain (analyze, buffers, format json) {cut}", 5_000, 4_000_000)
        top = json.loads(plan)[0]["Plan"]
        # What is older than a day: the slots that ended six slots ago.
        retention = time.monotonic() - (began[step - DAY + 1] if step >= DAY else began[0] - 3600)
        started = time.monotonic()
        emptied = await pg.fetchval("select notifiws.rotate($1)", timedelta(seconds=retention))
        rotate = time.monotonic() - started
        await pg.execute("select pg_stat_force_next_flush()")
        dead = await pg.fetchval(
            "select sum(n_dead_tup)::bigint from pg_stat_user_tables where schemaname = 'notifiws'"
        )
        size = await pg.fetchval("select notifiws.log_bytes()")
        found.append(
            Slot(
                size / 1e6,
                dead,
                statistics.median(times) * 1000,
                top["Shared Hit Blocks"] + top["Shared Read Blocks"],
                rotate * 1000,
                len(emptied),
            )
        )
    return found


def table(found: Sequence[Slot]) -> str:
    """The measures, for people."""
    head = f"{'slot':>4} {'MB':>8} {'dead':>6} {'cut ms':>7} {'blocks':>7} {'rotate ms':>10} {'emptied':>8}"
    return "\n".join(
        [head]
        + [
            f"{step:>4} {each.megabytes:>8.1f} {each.dead_rows:>6} {each.cut_ms:>7.2f} {each.cut_blocks:>7} "
            f"{each.rotate_ms:>10.1f} {each.emptied:>8}"
            for step, each in enumerate(found)
        ]
    )


async def _main(rows: int, rows_per_tick: int, slots: int) -> None:
    with tempfile.TemporaryDirectory(prefix="notifiws-day-") as folder:
        Path(folder).chmod(0o711)
        server = PostgresServer(Path(folder) / "postgres", fsync=False)
        server.start()
        try:
            pg, *others = [await asyncpg.connect(server.url) for _ in range(3)]
            await migrate(pg)
            await hold(*others)
            print(table(await simulate(pg, rows, rows_per_tick, slots)))
        finally:
            server.stop()


if __name__ == "__main__":
    asyncio.run(_main(*map(int, sys.argv[1:])))
