"""A capture waits for nobody: not for DDL on other tables, whatever the writer's timeouts are."""

import asyncio

from tests.integration.db.log import Log

TABLES = """
create table ajena (id int primary key, v int);
create table propia (id int primary key, v int);
create table hija (id int primary key, p int references propia on delete cascade,
                   q int references propia on delete set null);
select notifiws.watch('propia', 'a'), notifiws.watch('hija', 'a');
"""
WRITES = (
    "insert into propia values (1, 1); insert into hija values (1, 1, 1); update propia set v = 2; delete from propia"
)


async def test_another_tables_exclusive_lock_is_nobodys_business(log: Log) -> None:
    """New sessions and those whose plans DDL has thrown away look at the table's shape: at no other table's."""
    await log.pg.execute(TABLES)
    busy = await log.session()
    for shape in ("", "alter table propia add x int; alter table hija add x int"):
        await busy.execute("truncate ajena; begin; truncate ajena; alter table ajena add y int default random()")
        writer = await log.session()
        await writer.execute(f"set lock_timeout = '1s'; {shape}")
        async with asyncio.timeout(10):
            await writer.execute(WRITES)
        await busy.execute("rollback")
        rows = await log.cut()
        assert [row["op"] for row in rows][:3] == ["insert", "insert", "update"]
        assert {row["op"] for row in rows} >= {"delete"}
    assert await log.pg.fetch("select * from notifiws.incident") == []


async def test_refresh_and_watches_do_not_wait_for_a_table(log: Log) -> None:
    """The listener refreshes every few seconds: an open DDL on one table must not keep the others waiting."""
    await log.pg.execute(TABLES)
    await log.pg.execute("alter table hija add x int")
    busy = await log.session()
    await busy.execute("begin; truncate propia cascade; truncate ajena")
    async with asyncio.timeout(10):
        await log.query("refresh_watches")
        watches = await log.query("watches")
        assert all(row["in_force"] and "locked" in row["problem"] for row in watches)
    await busy.execute("commit")
    await log.query("refresh_watches")
    assert [row["problem"] for row in await log.query("watches")] == [None, None]
