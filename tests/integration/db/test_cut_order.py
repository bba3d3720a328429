"""Ticks: each committed event in exactly one, no change before one that it could see, and nobody waits for others."""

import asyncio
import random
from typing import Any

import asyncpg
import pytest

from db import loader
from tests.integration.db.log import BIG, Log, Replica

TABLE = """
create table saldos (id int primary key, v int not null default 0);
select notifiws.watch('saldos', 'saldos');
"""


async def values(log: Log) -> list[tuple[int, int]]:
    """(id, v) of the inserts and updates that one cut finds."""
    return [(e["key"]["id"], e["new"]["v"]) for e in await log.events()]


async def test_the_order_trap(log: Log) -> None:
    """T2 (older xid) waits for T1's row while T3 stays open: T1's change, then T2's, without waiting for T3."""
    await log.pg.execute(TABLE)
    await log.pg.execute("insert into saldos values (1), (2), (3)")
    await log.cut()
    t1, t2, t3 = [await log.session() for _ in range(3)]
    for session, row in ((t3, 3), (t2, 2), (t1, 1)):
        await session.execute(f"begin; update saldos set v = {row} where id = {row}")
    waiting = asyncio.create_task(t2.execute("update saldos set v = v + 10 where id = 1"))
    async with asyncio.timeout(10):
        while not await log.pg.fetchval("select count(*) from pg_locks where not granted"):
            await asyncio.sleep(0.005)
    await t1.execute("commit")
    await waiting
    assert await values(log) == [(1, 1)]
    await t2.execute("commit")
    assert await values(log) == [(2, 2), (1, 11)]
    assert await values(log) == []
    await t3.execute("commit")
    assert await values(log) == [(3, 3)]


async def test_both_in_one_tick_keep_their_order(log: Log) -> None:
    await log.pg.execute(TABLE)
    await log.pg.execute("insert into saldos values (1), (2)")
    await log.cut()
    older, younger = await log.session(), await log.session()
    await older.execute("begin; update saldos set v = 1 where id = 2")
    await younger.execute("update saldos set v = 2 where id = 1")
    await older.execute("update saldos set v = v + 1 where id = 1; commit")
    assert await values(log) == [(2, 1), (1, 2), (1, 3)]


async def test_a_cut_that_finds_nothing_leaves_no_row(log: Log) -> None:
    before = await log.query("last_tick")
    assert await log.cut() == []
    await log.pg.execute("create table other (x int); insert into other values (1)")
    assert await log.cut() == []
    assert await log.query("last_tick") == before


async def test_savepoints_and_subtransactions_beyond_the_snapshots_room(log: Log) -> None:
    await log.pg.execute(TABLE)
    writer = await log.session()
    await writer.execute("begin")
    for n in range(150):
        await writer.execute(f"savepoint s{n}; insert into saldos values ({n})")
        if n % 3 == 0:
            await writer.execute(f"rollback to s{n}")
    assert await log.cut() == []
    await log.pg.execute("insert into saldos values (1000)")
    assert [row[0] for row in await values(log)] == [1000]
    await writer.execute("commit")
    assert [row[0] for row in await values(log)] == [n for n in range(150) if n % 3]


async def test_two_phase_commit_with_the_doorbell_off(log: Log) -> None:
    await log.pg.execute(TABLE)
    await log.pg.execute("set notifiws.doorbell = off")
    await log.pg.execute("begin; insert into saldos values (1); prepare transaction 'p1'")
    assert await log.cut() == []
    await log.pg.execute("commit prepared 'p1'")
    assert await values(log) == [(1, 0)]


async def test_a_second_cutter_is_refused(log: Log) -> None:
    await log.pg.execute("select notifiws.emit('a', '1')")
    other = await log.session()
    await other.execute("begin; select * from notifiws.cut(1, 1)")
    with pytest.raises(asyncpg.ObjectInUseError):
        await log.cut()
    await other.execute("rollback")
    assert len(await log.cut()) == 1


async def test_a_tick_too_big_is_recorded_and_paged_by_cursor(log: Log) -> None:
    await log.pg.execute(TABLE)
    await log.pg.execute("insert into saldos select n from generate_series(1, 2500) n")
    for limits in ((2499, BIG), (BIG, 1000)):
        rows = await log.query("cut", *limits)
        assert [(row["more"], row["id"]) for row in rows] == [(True, None)]
        tick = (await log.query("tick", rows[0]["tick"]))[0]
        after, seen = 0, []
        while True:
            async with log.pg.transaction(isolation="repeatable_read", readonly=True):
                args = (tick["s1"], tick["s2"], after)
                narrow = await log.pg.cursor(loader.query("tick_rows_narrow"), *args)
                wide = await log.pg.cursor(loader.query("tick_rows_wide"), *args, BIG)
                sizes = await narrow.fetch(700)
                page = await wide.fetch(len(sizes)) if sizes else []
            if not page:
                break
            assert [row["id"] for row in page] == [row["id"] for row in sizes]
            for row, size in zip(page, sizes, strict=True):
                texts = (row["key"], row["new"], row["old"], row["payload"])
                assert size["bytes"] == sum(len(text.encode()) for text in texts if text)
            seen += page
            after = page[-1]["id"]
        assert len(seen) == 2500
        assert [row["id"] for row in seen] == sorted(row["id"] for row in seen)
        await log.pg.execute("update saldos set v = v + 1")


async def test_exactly_one_tick_whatever_the_writers_do(log: Log) -> None:
    """Random writers beside a cutter: every committed event once, per row in order, and each tick replays the same."""
    await log.pg.execute(TABLE)
    await log.pg.execute("insert into saldos select n from generate_series(1, 8) n")
    done = asyncio.Event()
    cuts: list[list[asyncpg.Record]] = []

    async def writer(seed: int) -> None:
        chance = random.Random(seed)
        pg = await log.session()
        for _ in range(60):
            await pg.execute("begin")
            # rows in order, so that writers wait for each other and never deadlock
            for row in sorted(chance.sample(range(1, 9), chance.randrange(1, 4))):
                await pg.execute(f"savepoint s; update saldos set v = v + 1 where id = {row}")
                if chance.random() < 0.2:
                    await pg.execute("rollback to s")
            if chance.random() < 0.3:
                key = seed * 1000 + chance.randrange(5)
                await pg.execute(f"insert into saldos values ({key}) on conflict (id) do update set v = saldos.v + 1")
            if chance.random() < 0.1:
                await pg.execute(f"delete from saldos where id > {seed * 1000} and id < {seed * 1000 + 5}")
            await pg.execute("rollback" if chance.random() < 0.2 else "commit")

    async def cutter() -> None:
        while not done.is_set():
            cuts.append(await log.cut())
            await asyncio.sleep(0)
        cuts.append(await log.cut())

    cutting = asyncio.create_task(cutter())
    open_for_long = await log.session()
    await open_for_long.execute("begin; insert into saldos values (999999)")
    await asyncio.gather(*(writer(seed) for seed in range(1, 7)))
    await open_for_long.execute("commit")
    done.set()
    await cutting

    rows = [row for cut in cuts for row in cut]
    assert len({row["id"] for row in rows}) == len(rows)
    assert len(rows) == await log.pg.fetchval("select count(*) from notifiws.outbox")
    assert await log.cut() == []
    replica = Replica()
    for row in rows:
        replica.apply(row)
    await replica.check(log, "saldos")
    ticks: dict[int, list[Any]] = {}
    for row in rows:
        ticks.setdefault(row["tick"], []).append(row["id"])
    assert list(ticks) == list(range(1, len(ticks) + 1))
    for number, ids in ticks.items():
        tick = (await log.query("tick", number))[0]
        again = await log.query("tick_rows_wide", tick["s1"], tick["s2"], 0, BIG)
        assert [row["id"] for row in again] == ids
        half = ids[len(ids) // 2]
        again = await log.query("tick_rows_wide", tick["s1"], tick["s2"], half, BIG)
        assert [row["id"] for row in again] == [i for i in ids if i > half]
