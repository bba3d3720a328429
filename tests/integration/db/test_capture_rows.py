"""Row triggers: `always`, replication, and keys that two rows may have for a while."""

import asyncio

import asyncpg
import pytest

from tests.conftest import Database
from tests.integration.db.log import Log, Replica

TABLE = "create table t (id int primary key, v int, nombre text);"


async def replay(log: Log, table: str = "t") -> list[asyncpg.Record]:
    """Apply the events as a client does: rows by key, the last word wins; it must end at the table."""
    rows: dict[str, str] = {}
    found = await log.cut()
    for row in found:
        if row["op"] == "truncate":
            rows.clear()
        elif row["new"] is None:
            rows.pop(row["key"], None)
        else:
            rows[row["key"]] = row["new"]
    now = await log.pg.fetch(f"select row_to_json(t)::text from {table} t")
    assert sorted(rows.values()) == sorted(row[0] for row in now)
    return found


async def test_always_fires_where_nothing_else_does(log: Log) -> None:
    superuser = await log.database.connect(superuser=True)
    await log.pg.execute(TABLE + "select notifiws.watch('t', 'si', always => true), notifiws.watch('t', 'no')")
    await superuser.execute("""
        set session_replication_role = replica;
        insert into t values (1, 1, 'a'), (2, 2, 'b'); update t set v = v + 1; update t set id = id + 1 where id = 2;
        delete from t where id = 3; truncate t; set session_replication_role = origin; insert into t values (9)""")
    rows = await log.cut()
    assert [row["op"] for row in rows if row["channel"] == "si"] == [
        "insert", "insert", "update", "update", "delete", "insert", "delete", "truncate", "insert",
    ]  # fmt: skip
    assert [row["op"] for row in rows if row["channel"] == "no"] == ["insert"]
    await log.pg.execute("alter table t enable trigger user")  # a common restore step: no longer always
    states = {row["channel"]: row for row in await log.query("watches")}
    assert (states["si"]["in_force"], states["no"]["in_force"]) == (False, True)
    await log.pg.execute("select notifiws.watch('t', 'si', always => true)")
    assert all(row["in_force"] for row in await log.query("watches"))


async def test_always_needs_the_tables_owner(log: Log) -> None:
    superuser = await log.database.connect(superuser=True)
    owner = await log.pg.fetchval("select current_user")
    await superuser.execute(f"create table ajena (id int primary key); grant select, trigger on ajena to {owner}")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="fire always") as refusal:
        await log.pg.execute("select notifiws.watch('ajena', 'a', always => true)")
    assert "grant postgres to" in (refusal.value.hint or "")


async def test_a_role_that_writes_as_a_replica_is_said(log: Log) -> None:
    superuser = await log.database.connect(superuser=True)
    await log.pg.execute(TABLE + "select notifiws.watch('t', 'a')")
    await superuser.execute(f"alter role writer in database {log.database.name} set session_replication_role = replica")
    state = (await log.query("watches"))[0]
    assert not state["in_force"]
    assert "writer" in state["problem"]
    assert "always" in state["problem"]
    await log.pg.execute("select notifiws.watch('t', 'a', always => true)")
    assert (await log.query("watches"))[0]["in_force"]


async def test_logical_apply(log: Log, blank: Database) -> None:
    """A subscription's worker writes as a replica. Both databases are of one server, so the slot is made by hand."""
    source = await blank.connect(superuser=True)
    target = await log.database.connect(superuser=True)
    tables = (
        TABLE
        + "create table p (id int primary key, v int) partition by range (id);"
        + "create table p1 partition of p for values from (0) to (9);"
    )
    await source.execute(tables + "create publication pub for table t, p with (publish_via_partition_root = true)")
    await source.fetchval("select pg_create_logical_replication_slot($1, 'pgoutput')", f"s_{blank.name}")
    await log.pg.execute(
        tables + "select notifiws.watch('t', 't', always => true), notifiws.watch('p', 'p', always => true)"
    )
    await target.execute(
        f"create subscription sub connection '{blank.superuser_url}' publication pub "
        f"with (create_slot = false, slot_name = 's_{blank.name}', copy_data = false)"
    )
    try:
        done = asyncio.Event()
        await log.pg.add_listener("notifiws", lambda *_: done.set())
        sleeper = await log.session()  # as a relay that sleeps: the worker rings
        await sleeper.fetchval("select pg_advisory_lock(1852797033, 2)")
        await source.execute("""begin; insert into t values (1, 1, 'a'), (2, 2, 'b'); update t set v = 3 where id = 1;
            update t set id = 5 where id = 2; delete from t where id = 1;
            insert into p values (1, 1), (2, 2); update p set v = 5; commit""")
        await asyncio.wait_for(done.wait(), 30)
        rows = await log.cut()
        assert [row["op"] for row in rows if row["channel"] == "t"] == [
            "insert",
            "insert",
            "update",
            "delete",
            "insert",
            "delete",
        ]
        assert [row["op"] for row in rows if row["channel"] == "p"] == ["insert", "insert", "update", "update"]
        done.clear()
        await source.execute("truncate t")
        await asyncio.wait_for(done.wait(), 30)
        assert [row["op"] for row in await log.cut()] == ["truncate"]
    finally:
        await target.execute(
            "alter subscription sub disable; alter subscription sub set (slot_name = none); drop subscription sub"
        )
        for _ in range(100):
            try:
                await source.fetchval("select pg_drop_replication_slot($1)", f"s_{blank.name}")
                break
            except asyncpg.ObjectInUseError:
                await asyncio.sleep(0.05)


DEFERRED = [
    "update t set id = id + 1",
    "update t set id = 3 - id where id in (1, 2)",
    "begin; update t set id = 3 where nombre = 'a'; update t set id = 40 where nombre = 'c'; commit",
    "begin; update t set id = 2 where nombre = 'a'; delete from t where nombre = 'b'; commit",
    "begin; insert into t values (2, 0, 'z'); update t set v = 9; delete from t where nombre = 'b'; commit",
    "begin; insert into t values (3, 0, 'z'); update t set v = 9, id = id + 1 where nombre = 'c'; commit",
    "begin; update t set id = 2 where nombre = 'a'; update t set id = 1 where nombre = 'b'; commit",
    "begin; update t set id = 2; delete from t where nombre in ('a', 'c'); commit",
    "begin; update t set id = 2; update t set id = 1 where nombre = 'c';"
    " update t set id = 7 where nombre = 'a'; commit",
    "update t set v = v + 1 where id > 1; delete from t where id = 1; insert into t values (1, 8, 'n')",
]


@pytest.mark.parametrize("always", [False, True], ids=["statement", "row"])
async def test_keys_that_two_rows_have_for_a_while(log: Log, always: bool) -> None:
    await log.pg.execute("create table t (id int primary key deferrable initially deferred, v int, nombre text)")
    await log.pg.execute("select notifiws.watch('t', 'a', always => $1)", always)
    for statements in DEFERRED:
        await log.pg.execute("truncate t; insert into t values (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c')")
        await log.pg.execute(statements)
        await replay(log)
    assert (await log.query("watches"))[0]["problem"] is None
    # the key is made immediate, and deferrable again
    await log.pg.execute("alter table t drop constraint t_pkey, add primary key (id)")
    assert await log.value("refresh_watches") == 1
    await log.pg.execute("alter table t drop constraint t_pkey, add primary key (id) deferrable")
    await log.pg.execute("truncate t; insert into t values (1, 1, 'a'), (2, 2, 'b'); update t set id = id + 1")
    await replay(log)


async def test_two_phase_commit(log: Log) -> None:
    await log.pg.execute(TABLE + "select notifiws.watch('t', 'a', always => true)")
    writer = await log.session()
    sleeper = await log.session()
    await sleeper.fetchval("select pg_advisory_lock(1852797033, 2)")
    await writer.execute("set notifiws.doorbell = off; begin; insert into t values (1); prepare transaction 'dos'")
    assert await log.cut() == []
    await writer.execute("commit prepared 'dos'")
    assert len(await log.cut()) == 1


BODIES = {
    "update": "update t set v = v + 100",
    "delete": "delete from t where v % 2 = 1",
    "replace": "delete from t where id = 2; insert into t values (2, 88)",
    "move": "update t set id = id + 1000 where id = (select max(id) from t)",
}
STATEMENTS = [
    "insert into t values (1, 1), (2, 2), (3, 3)",
    "update t set v = v + 1",
    "insert into t values (1, 5), (9, 9) on conflict (id) do update set v = excluded.v",
    "update t set id = id + 50 where id < 3",
    "delete from t where id in (3, 9)",
]


@pytest.mark.parametrize("kind", ["always", "partitioned"])
async def test_triggers_that_write_their_own_table(log: Log, kind: str) -> None:
    always = kind == "always"
    table = "create table t (id int primary key, v int)" + (
        ""
        if always
        else " partition by hash (id); create table t0 partition of t for values with (modulus 2, remainder 0);"
        "create table t1 partition of t for values with (modulus 2, remainder 1)"
    )
    for body in BODIES.values():
        await log.pg.execute(
            f"{table}; create or replace function aa() returns trigger language plpgsql"
            f" as $$ begin {body}; return null; end $$"
        )
        await log.pg.execute("select notifiws.watch('t', 'a', always => $1)", always)
        await log.pg.execute("""create trigger aa after insert or update on t for each row
                when (pg_trigger_depth() = 0) execute function aa();
                              create trigger zz after delete on t for each row
                when (pg_trigger_depth() = 0) execute function aa()""")
        for statement in STATEMENTS:
            try:
                await log.pg.execute(statement)
            except asyncpg.PostgresError as error:
                assert "notifiws" not in str(error)
        assert [dict(row)["problem"] for row in await log.query("watches")] == [None]
        await replay(log)
        await log.pg.execute("select notifiws.unwatch('t', 'a'); drop table t")


async def test_cascades_in_row_mode(log: Log) -> None:
    await log.pg.execute("""
        create table usuarios (id int primary key);
        create table amigos (a int references usuarios on update cascade on delete cascade,
                             b int references usuarios on update cascade on delete set null,
                             c int primary key);
        select notifiws.watch('amigos', 'amigos', always => true);
        insert into usuarios values (1), (2), (3);
        insert into amigos values (1, 2, 10), (2, 3, 20), (3, 1, 30), (3, 3, 40);
        update usuarios set id = id + 10; delete from usuarios where id in (11, 12)""")
    replica = Replica()
    for row in await log.cut():
        replica.apply(row)
    await replica.check(log, "amigos")
