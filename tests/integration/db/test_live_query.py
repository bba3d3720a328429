"""What live_query refuses, what tells of a change and what does not, and whose result is published."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from db import loader
from tests.conftest import Database
from tests.integration.db.log import Log

SUM = "select count(*) as n, coalesce(sum(n), 0) as total from t"
DECLARE = "select notifiws.live_query($1, $2, $3::text[]::regclass[], $4::text::interval, $5::text::interval)"
TABLES = """
create table t (id int primary key, n int not null);
create table lines (id int primary key, t int references t on delete cascade);
create view seen as select * from t;
create materialized view kept as select * from t;
select notifiws.watch('lines', 'lines');
"""
SELECT = "one SELECT"
REFUSED: list[tuple[tuple[Any, ...], str, str]] = [
    (("Sum", SUM, ["t"], "250 ms", None), "not a channel name", "1 to 128 characters"),
    (("lines", SUM, ["t"], "250 ms", None), "carries the events", "a channel of its own"),
    (("sum", " ;\n", ["t"], "250 ms", None), "needs a query", ""),
    (("sum", "select 1; drop table t", ["t"], "250 ms", None), "multi-query", SELECT),
    (("sum", "select 1 as a) q; select (2", ["t"], "250 ms", None), "syntax error", SELECT),
    (("sum", "select 1) q, (select 2", ["t"], "250 ms", None), "syntax error", SELECT),
    (("sum", "delete from t", ["t"], "250 ms", None), "DELETE", SELECT),
    (("sum", "insert into t values (1, 1) returning id", ["t"], "250 ms", None), "no live query", SELECT),
    (("sum", "with x as (delete from t returning *) select * from x", ["t"], "250 ms", None), "data-modifying", SELECT),
    (("sum", "select * from t for update", ["t"], "250 ms", None), "read-only", SELECT),
    (("sum", "select id into x from t", ["t"], "250 ms", None), "SELECT INTO", SELECT),
    (("sum", "show work_mem", ["t"], "250 ms", None), "syntax error", SELECT),
    (("sum", "select $1::int as a", ["t"], "250 ms", None), "no parameter", SELECT),
    (("sum", "select nothing from t", ["t"], "250 ms", None), "does not exist", SELECT),
    (("sum", "select id, id from t", ["t"], "250 ms", None), "more than once", "a name of its own"),
    (("sum", "select from t", ["t"], "250 ms", None), "no column", "a name of its own"),
    (("sum", SUM, ["seen"], "250 ms", None), "is a view", "the tables that it reads"),
    (("sum", SUM, ["kept"], "250 ms", None), "materialized", '"every"'),
    (("sum", SUM, ["pg_class"], "250 ms", None), "system table", '"every"'),
    (("sum", SUM, ["t", None], "250 ms", None), "is null", "each table"),
    (("sum", SUM, [], "250 ms", None), "never run again", "name the tables"),
    (("sum", SUM, None, "250 ms", "1 s"), "never run again", "name the tables"),
    (("sum", SUM, ["t"], "0", None), "throttle", "least time"),
    (("sum", SUM, ["t"], None, None), "throttle", "least time"),
    (("sum", SUM, ["t"], "250 ms", "0"), "every", "1 minute"),
]


async def touches(pg: "asyncpg.Connection[Any]") -> int:
    """How many there are since the last call."""
    rows = await pg.fetchval("select count(*) from notifiws.outbox where op = 'touch' and channel = ''")
    await pg.execute("truncate notifiws.outbox")
    return int(rows)


async def test_what_is_refused_changes_nothing(log: Log) -> None:
    await log.pg.execute(TABLES)
    for arguments, why, mend in REFUSED:
        with pytest.raises(asyncpg.PostgresError, match=why) as caught:
            await log.pg.execute(DECLARE, *arguments)
        assert mend in (getattr(caught.value, "hint", None) or ""), arguments
    for table in ("live_query_entry", "live_query_table"):
        assert await log.pg.fetchval(f"select count(*) from notifiws.{table}") == 0
    assert await log.pg.fetchval("select current_setting('transaction_read_only')") == "off"


async def test_a_channel_is_one_thing(log: Log) -> None:
    await log.pg.execute(TABLES)
    await log.pg.execute(DECLARE, "sum", SUM + " ;", ["t"], "250 ms", None)
    for other in ("notifiws.watch('t', 'sum')", "notifiws.adopt('x', 'sum')"):
        with pytest.raises(asyncpg.ObjectInUseError, match="live query") as caught:
            await log.pg.execute(f"select {other}")
        assert "channel" in str(caught.value.hint)
    await log.pg.execute("select notifiws.drop_live_query('sum')")
    await log.pg.execute("select notifiws.watch('t', 'sum')")
    with pytest.raises(asyncpg.UndefinedObjectError, match="carries no live query"):
        await log.pg.execute("select notifiws.drop_live_query('sum')")
    assert await log.pg.fetchval("select count(*) from pg_proc where proname like 'touch\\__'") == 0


async def test_one_touch_a_transaction_that_changed_something_and_stands(log: Log) -> None:
    pg = log.pg
    await pg.execute(TABLES)
    for channel in ("one", "two"):  # one trigger serves all
        await pg.execute(DECLARE, channel, SUM, ["t", "lines"], "250 ms", None)
    assert await touches(pg) == 0
    await pg.execute("insert into t select i, i from generate_series(1, 100) i")
    assert await touches(pg) == 1
    async with pg.transaction():
        for _ in range(3):
            await pg.execute("update t set n = n + 1")
    assert await touches(pg) == 1
    await pg.execute("update t set n = 0 where id = -1")
    assert await touches(pg) == 0
    with pytest.raises(asyncpg.UniqueViolationError):
        await pg.execute("insert into t values (1, 1)")
    assert await touches(pg) == 0
    async with pg.transaction():
        with pytest.raises(KeyError):
            async with pg.transaction():
                await pg.execute("insert into t values (101, 1)")
                raise KeyError
        await pg.execute("insert into t values (102, 1)")
    assert await touches(pg) == 1, "the savepoint took its touch along"
    await pg.execute("insert into lines select i, i from generate_series(1, 3) i")
    assert await touches(pg) == 1
    await pg.execute("delete from t where id = 1")
    assert await touches(pg) == 2, "the cascade wrote to the other table"
    await pg.execute("truncate t, lines")
    assert await touches(pg) == 2
    await pg.execute("select notifiws.drop_live_query('one'); insert into t values (1, 1)")
    assert await touches(pg) == 1
    await pg.execute("select notifiws.drop_live_query('two'); insert into t values (2, 1)")
    assert await touches(pg) == 0


async def test_partitions_however_they_are_written_to(log: Log) -> None:
    pg = log.pg
    await pg.execute("""
        create table t (id int, n int) partition by range (id);
        create table t_1 partition of t for values from (0) to (100);
        create table later (id int, n int);
        insert into later values (100, 5)
    """)
    await pg.execute(DECLARE, "sum", SUM, ["t"], "250 ms", None)
    for statement in ("insert into t values (1, 1)", "insert into t_1 values (2, 1)", "truncate t_1"):
        await pg.execute(statement)
        assert await touches(pg) >= 1, statement
    await pg.execute("alter table t attach partition later for values from (100) to (200)")
    assert await touches(pg) == 0
    assert "declare it again" in await pg.fetchval("select problem from notifiws.live_queries")
    assert await pg.fetchval(loader.query("refresh_touches")) == 1
    assert await touches(pg) == 1, "what came with the partition"
    await pg.execute("insert into later values (101, 1)")
    assert await touches(pg) == 1
    assert await pg.fetchval(loader.query("refresh_touches")) == 0
    assert await pg.fetchval("select problem from notifiws.live_queries") is None
    # A restored dump: the table has another oid, the entry's may be anybody's.
    await pg.execute("update notifiws.live_query_table set target = 'notifiws.outbox'::regclass")
    assert await pg.fetchval("select depends_on from notifiws.live_queries") == ["t"]
    assert await pg.fetchval(loader.query("refresh_touches")) == 1
    assert await pg.fetchval("select target::regclass::text from notifiws.live_query_table") == "t"
    await pg.execute("drop table t")
    assert "is gone" in await pg.fetchval("select problem from notifiws.live_queries")
    await pg.execute("select notifiws.drop_live_query('sum')")


async def test_two_phase_writers(database: Database, log: Log) -> None:
    await log.pg.execute(TABLES)
    await log.pg.execute(DECLARE, "sum", SUM, ["t"], "250 ms", None)
    asleep = await database.connect()
    assert await asleep.fetchval(loader.query("doorbell_try_lock"))
    await log.pg.execute("set notifiws.doorbell = off")
    for outcome in ("commit", "rollback"):
        await log.pg.execute("begin")
        await log.pg.execute(f"insert into t values ({len(outcome)}, 1)")
        await log.pg.execute(f"prepare transaction '{database.name}'")
        await log.pg.execute(f"{outcome} prepared '{database.name}'")
    assert await log.pg.fetchval("select count(*) from notifiws.outbox where op = 'touch'") == 1


async def test_it_runs_as_who_declared_it_and_where(database: Database, log: Log) -> None:
    """With that role's rights and search_path, values written as events have them, and nothing else can write."""
    pg = log.pg
    await pg.execute("create schema shop; create table shop.t (id int, n numeric, at timestamptz, e interval)")
    await pg.execute(
        "insert into shop.t values (1, 12345678901234567890.10, '2026-01-02 03:04:05+02', '1 day 2 hours')"
    )
    await pg.execute("set search_path = shop; set timezone = 'Asia/Tokyo'")
    await pg.execute(DECLARE, "rows", "select * from t order by id -- all", ["t"], "250 ms", None)
    listener = await database.connect()
    await listener.fetch(loader.query("live_query_settings"), "5000ms")

    async def run(known: str | None = None, most: int = 1000) -> Any:
        [entry] = [row for row in await listener.fetch(loader.query("live_query_claim"), 1)]
        async with listener.transaction(isolation="repeatable_read", readonly=True):
            return await listener.fetchrow(loader.query("live_query_run"), "rows", entry["version"], known, most)

    row = await run()
    assert row["result"] == (
        '[{"id":1,"n":12345678901234567890.10,"at":"2026-01-02T01:04:05+00:00","e":"1 day 02:00:00"}]'
    )
    assert (await run(row["digest"]))["result"] is None
    with pytest.raises(asyncpg.ProgramLimitExceededError, match="more than 50 bytes"):
        await run(most=50)
    await pg.execute(
        "create function shop.sneak() returns int language sql as 'insert into shop.t values (2) returning id'"
    )
    await pg.execute(DECLARE, "rows", "select shop.sneak() as id", ["t"], "250 ms", None)
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await run()
    admin = await database.connect(superuser=True)
    await admin.execute(DECLARE, "rows", "select 1 as id", ["shop.t"], "250 ms", None)
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="may not run it as") as caught:
        await run()
    assert "grant" in str(caught.value.hint)


async def test_only_the_latest_leader_and_declaration_publish(log: Log) -> None:
    pg = log.pg
    await pg.execute(TABLES)
    await pg.execute(DECLARE, "sum", SUM, ["t"], "250 ms", None)

    async def claim(term: int) -> int:
        return int((await pg.fetch(loader.query("live_query_claim"), term))[0]["version"])

    async def publish(version: int, term: int, n: int) -> bool:
        arguments = json.dumps([{"n": n}]), str(n), 1, datetime.now(UTC), 0.1
        return bool(await pg.fetchval(loader.query("live_query_publish"), "sum", version, term, *arguments))

    version = await claim(1)
    assert await publish(version, 1, 1)
    assert await claim(2) == version
    assert await claim(1) == version, "a deposed leader may ask, and takes nothing back"
    assert not await publish(version, 1, 2)
    assert await publish(version, 2, 3)
    await pg.execute(DECLARE, "sum", SUM, ["t"], "250 ms", None)
    assert not await publish(version, 2, 4)
    version = await claim(2)
    assert await publish(version, 2, 5)
    await pg.execute("select notifiws.drop_live_query('sum')")
    assert not await publish(version, 2, 6)
    results = await pg.fetch("select payload from notifiws.outbox where op = 'result' order by id")
    assert [json.loads(row["payload"])[0]["n"] for row in results] == [1, 3, 5]


async def test_declaring_waits_for_open_writers_and_holds_up_none(database: Database, log: Log) -> None:
    """Whoever wrote before the trigger stood has ended before it stands, so the first run sees it."""
    await log.pg.execute(TABLES)
    writer, other = await database.connect(), await database.connect()
    opened = writer.transaction()
    await opened.start()
    await writer.execute("insert into lines values (1, null)")
    declaring = asyncio.create_task(log.pg.execute(DECLARE, "sum", SUM, ["t", "lines"], "250 ms", None))
    for number in range(2, 12):
        await other.execute("insert into t values ($1, 1)", number, timeout=5)
        await asyncio.sleep(0.03)
    assert not declaring.done()
    await opened.commit()
    await declaring


async def test_a_search_path_that_anybody_may_write_into_is_said(log: Log) -> None:
    """A function there that fits better than Postgres' own would be called with the declaring role's rights."""
    await log.pg.execute("create table t (id int primary key, n int); create schema own; set search_path = own, public")
    said: list[tuple[str, str | None]] = []
    log.pg.add_log_listener(lambda _, message: said.append((str(message), message.hint)))
    await log.pg.execute(DECLARE, "sum", SUM, ["t"], "250 ms", None)
    assert not said
    await log.pg.execute("grant create on schema public to public")
    await log.pg.execute(DECLARE, "sum", SUM, ["t"], "250 ms", None)
    assert [hint for text, hint in said if "create functions in schema public" in text] == [
        "revoke create on schema public from public"
    ]
