"""Order as subscribers hear it: a change after the ones that it could see, and nobody waits for a stranger's
transaction. And the tables of random writers, as the relay's publications give them.
"""

import asyncio
import json
import random
from contextlib import suppress

import asyncpg

from notifiws.stack.valkey import ValkeyServer
from tests.conftest import Database
from tests.integration.db.replay import READ_AS_CAPTURED, Replica, members, rows_of
from tests.integration.db.writers import READ_FROM, REFUSALS, SETTLED, STATEMENTS, TABLES, WATCH, WATCHED
from tests.integration.listener.conftest import Ear, ListenerProcess, Streams, eventually


async def blocked(pg: asyncpg.Connection, waiter: asyncpg.Connection) -> None:
    """Until that session waits for another one's lock."""

    async def waiting() -> bool:
        return bool(await pg.fetchval("select cardinality(pg_blocking_pids($1)) > 0", waiter.get_server_pid()))

    await eventually(waiting)


def heard(ear: Ear) -> list[tuple[int, int]]:
    """(id, n) of each row heard of, in the order of arrival."""
    rows = [json.loads(bytes(event.payload or b"")) for _, each in ear.heard for event in each.events()]
    return [(row["id"], row["n"]) for row in rows]


async def test_the_order_trap(
    listener: ListenerProcess, database: Database, pg: asyncpg.Connection, valkey: ValkeyServer
) -> None:
    """T2 (older xid) waits for T1's row while T3 stays open: T1's change, then T2's, without waiting for T3."""
    await pg.execute("insert into ventas values (1, 0, ''), (2, 0, ''), (3, 0, '')")
    t1, t2, t3 = [await database.connect() for _ in range(3)]
    async with Ear(valkey.url, "ventas") as ear:
        for session, row in ((t3, 3), (t2, 2), (t1, 1)):
            await session.execute(f"begin; update ventas set n = {row} where id = {row}")
        waiting = asyncio.create_task(t2.execute("update ventas set n = n + 10 where id = 1"))
        await blocked(pg, t2)
        await t1.execute("commit")
        await waiting
        start = len(heard(ear)) - heard(ear).count((1, 1))  # the rows from before, if they came late
        await ear.until(start + 1)
        assert heard(ear)[start:] == [(1, 1)]
        await t2.execute("commit")
        await ear.until(start + 3)
        assert heard(ear)[start:] == [(1, 1), (2, 2), (1, 11)]
        await t3.execute("commit")
        await ear.until(start + 4)
        assert heard(ear)[start:] == [(1, 1), (2, 2), (1, 11), (3, 3)]


async def test_one_row_handed_from_writer_to_writer(
    listener: ListenerProcess, database: Database, pg: asyncpg.Connection, valkey: ValkeyServer
) -> None:
    """Each transaction got its xid before the others wrote, and waits for the one before it: xids in reverse order."""
    await pg.execute("insert into ventas values (0, 0, '')")
    sessions = [await database.connect() for _ in range(8)]
    async with Ear(valkey.url, "ventas") as ear:
        for session in reversed(sessions):
            await session.execute("begin; select pg_current_xact_id()")
        waiting = []
        for session in sessions:
            waiting.append(asyncio.create_task(session.execute("update ventas set n = n + 1; commit")))
            if len(waiting) == 1:
                await waiting[0]
                await session.execute("begin; update ventas set n = n")
            else:
                await blocked(pg, session)
        await sessions[0].execute("rollback")
        await asyncio.gather(*waiting)

        async def all_heard() -> bool:
            return heard(ear)[-1:] == [(0, 8)]

        await eventually(all_heard)
        assert [row for row in heard(ear) if row[1]] == [(0, n) for n in range(1, 9)]


async def test_random_writers_through_the_relay(
    listener: ListenerProcess, database: Database, pg: asyncpg.Connection, streams: Streams
) -> None:
    await pg.execute("select notifiws.unwatch('ventas', 'ventas'); drop table ventas")
    await pg.execute(TABLES.partition("grant ")[0])
    for channel, tables in WATCHED.items():
        for table in tables:
            await pg.execute(WATCH, table, channel)

    async def write(seed: int) -> None:
        chance = random.Random(seed)
        session = await database.connect()
        await session.execute("set lock_timeout = '20ms'")
        for _ in range(60):
            with suppress(*REFUSALS):
                async with session.transaction():
                    for _ in range(chance.randrange(1, 4)):
                        sql = chance.choice([each for each in STATEMENTS if not each.startswith("copy")])
                        for name in "abs":
                            sql = sql.replace(f"{{{name}}}", str(chance.randrange(4 if name == "s" else 7)))
                        with suppress(*REFUSALS):
                            async with session.transaction():
                                await session.execute(sql)

    await asyncio.gather(*(write(seed) for seed in range(4)))
    assert await pg.fetch("select message from notifiws.incident") == []
    await streams.until_exact(pg, *WATCHED)
    await pg.execute(READ_AS_CAPTURED)
    for channel, tables in WATCHED.items():
        replicas = {name: Replica(strict=name not in SETTLED) for name in tables}
        for publication in await streams.publications(channel):
            for event in publication.events():
                texts = members(bytes(event.data).decode())
                key, new, old = (
                    None if texts.get(name) == "null" else texts.get(name) for name in ("key", "new", "old")
                )
                replicas[json.loads(texts["table"])].apply(event.op, key, new, old)
        for name, replica in replicas.items():
            replica.check(await rows_of(pg, READ_FROM.get(name, name)), f"{name} on {channel}")
