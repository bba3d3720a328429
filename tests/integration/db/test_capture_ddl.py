"""A table that changes after it was watched: writers never fail, events follow the new shape, and it is said."""

import asyncpg
import pytest

from tests.integration.db.log import Log, Replica

TABLE = "create table t (id int primary key, v int, nombre text); select notifiws.watch('t', 'a');"
# Each with a row and a change that work afterwards.
CHANGES = {
    "add column": ("alter table t add extra int default 7", "5, 5, 'a'", "extra = 8"),
    "drop and add column": ("alter table t drop v, add w int", "5, 'a', 5", "w = 8"),
    "rename column": ("alter table t rename v to w", "5, 5, 'a'", "w = 2"),
    "rename key": ("alter table t rename id to clave", "5, 5, 'a'", "v = 2"),
    "change type": ("alter table t alter v type text", "5, 'x', 'a'", "v = 'y'"),
    "change key type": ("alter table t alter id type numeric", "5, 5, 'a'", "v = 2"),
    "rename table": ("alter table t rename to t2", "5, 5, 'a'", "v = 2"),
    "move schema": ("create schema s; alter table t set schema s", "5, 5, 'a'", "v = 2"),
    "another key": ("alter table t drop constraint t_pkey, add primary key (v)", "5, 5, 'a'", "nombre = 'x'"),
    "no key": ("alter table t drop constraint t_pkey", "5, 5, 'a'", "v = 2"),
    "name of ours": ('alter table t rename v to "notifiws#"', "5, 5, 'a'", '"notifiws#" = 2'),
    "generated": ("alter table t add g int generated always as (v * 2) stored", "5, 5, 'a'", "v = 2"),
    "hostile name": ('alter table t rename v to "new"', "5, 5, 'a'", '"new" = 2'),
}


@pytest.mark.parametrize("refreshed", [False, True], ids=["by the slow way", "refreshed"])
@pytest.mark.parametrize("warm", [False, True], ids=["new session", "same session"])
async def test_writers_go_on_and_events_follow(log: Log, refreshed: bool, warm: bool) -> None:
    for change in CHANGES:
        await follow(log, change, refreshed, warm)


async def follow(log: Log, change: str, refreshed: bool, warm: bool) -> None:
    ddl, row, update = CHANGES[change]
    await log.pg.execute(TABLE)
    writer = await log.session()
    if warm:
        await writer.execute("insert into t values (1, 1, 'a'); update t set v = 2; delete from t; truncate t")
        await log.cut()
    await log.pg.execute(ddl)
    table = await log.pg.fetchval(
        "select c.oid::regclass::text from pg_class c where relkind = 'r' and relname in ('t', 't2')"
    )
    shape_changed = "type" not in change
    watch = (await log.query("watches"))[0]
    assert watch["in_force"]
    assert (watch["problem"] or "").startswith("changed") is shape_changed
    if refreshed:
        assert await log.value("refresh_watches") == shape_changed
        assert await log.value("refresh_watches") == 0
        assert [dict(row)["problem"] for row in await log.query("watches")] == [None]
    await writer.execute(f"insert into {table} values ({row}); update {table} set {update}")
    rows = await log.cut()
    assert [row["op"] for row in rows] == ["insert", "update"]
    assert {row["source"] for row in rows} == {"s.t" if "schema" in change else f"public.{table}"}
    if change == "no key":
        assert [row["key"] for row in rows] == [None, None]
    else:
        replica = Replica()
        for row in rows:
            replica.apply(row)
        await replica.check(log, table)
    await writer.execute(f"delete from {table}; truncate {table}")
    assert [row["op"] for row in await log.cut()] == ["delete", "truncate"]
    await log.pg.execute(f"select notifiws.unwatch('{table}', 'a'); drop table {table}")


async def test_what_ddl_does_to_rows_is_seen_at_their_next_change(log: Log) -> None:
    await log.pg.execute(f"{TABLE} insert into t values (1, 1, 'largo')")
    await log.cut()
    await log.pg.execute("alter table t add extra int default 7, alter nombre type varchar(3) using left(nombre, 3)")
    assert await log.cut() == []
    await log.pg.execute("update t set v = 2")
    assert [e["new"] for e in await log.events()] == [{"id": 1, "v": 2, "nombre": "lar", "extra": 7}]


async def test_ddl_inside_the_writers_transaction(log: Log) -> None:
    await log.pg.execute(TABLE)
    await log.pg.execute("insert into t values (1, 1, 'a')")
    await log.pg.execute("begin; insert into t values (2); alter table t drop v; insert into t values (3, 'x'); commit")
    await log.pg.execute("begin; alter table t add z int; insert into t values (4, 'y', 1); rollback")
    await log.pg.execute("insert into t values (5, 'y')")
    assert [e["new"] for e in await log.events()] == [
        {"id": 1, "v": 1, "nombre": "a"},
        {"id": 2, "v": None, "nombre": None},
        {"id": 3, "nombre": "x"},
        {"id": 5, "nombre": "y"},
    ]


async def test_a_repeatable_read_transaction_older_than_the_ddl(log: Log) -> None:
    """Its snapshot of the catalogs shows the old shape, its rows have the new one."""
    await log.pg.execute(TABLE)
    old = await log.session()
    await old.execute("begin isolation level repeatable read; select 1 from pg_class limit 1")
    await log.pg.execute("alter table t drop v; alter table t rename nombre to titulo")
    await old.execute("insert into t values (1, 'a'); update t set titulo = 'b'; delete from t; commit")
    await old.execute("insert into t values (2, 'c')")
    events = await log.events()
    assert [e["op"] for e in events] == ["insert", "update", "delete", "insert"]
    assert events[0]["new"] == {"id": 1, "titulo": "a"}
    assert events[3]["new"] == {"id": 2, "titulo": "c"}


@pytest.mark.parametrize("always", [False, True], ids=["statement", "row"])
async def test_chosen_columns_are_followed_by_number(log: Log, always: bool) -> None:
    """A renamed one stays; a dropped one is said; another that takes a chosen name does not come in."""
    await log.pg.execute("create table t (id int primary key, v int, w int, secreto int)")
    await log.pg.execute("select notifiws.watch('t', 'a', columns => '{v,w}', always => $1)", always)
    await log.pg.execute("alter table t drop w; alter table t rename secreto to w; alter table t rename v to x")
    for _ in range(2):
        await log.pg.execute("insert into t values (1, 5, 42); update t set x = 6, w = 43; delete from t")
        rows = await log.cut()
        assert [row["new"] for row in rows] == ['{"id":1,"x":5}', '{"id":1,"x":6}', None]
        assert rows[1]["old"] == '{"id":1,"x":5}'
        row = (await log.query("watches"))[0]
        assert row["in_force"]
        assert row["problem"].startswith("changed")
        await log.query("refresh_watches")
    assert "chosen column" in row["problem"]
    assert row["columns"] == ["x", "w"]
    await log.pg.execute("select notifiws.watch('t', 'a', columns => '{x}')")
    assert (await log.query("watches"))[0]["problem"] is None


@pytest.mark.parametrize("always", [False, True], ids=["statement", "row"])
async def test_an_empty_choice_of_columns_stays_the_key_alone(log: Log, always: bool) -> None:
    """Never all columns, however often the table changes and its functions are made anew."""
    await log.pg.execute("create table t (id int primary key, secreto text)")
    await log.pg.execute("select notifiws.watch('t', 'a', columns => '{}', always => $1)", always)
    for change in ("add extra int", "drop extra"):
        await log.pg.execute(f"alter table t {change}")
        for _ in range(2):
            await log.pg.execute("insert into t values (1, 'x'); update t set secreto = 'y'; delete from t")
            assert all("secreto" not in f"{row['new']}{row['old']}" for row in await log.cut())
            await log.query("refresh_watches")
    assert (await log.query("watches"))[0]["columns"] == []


async def test_a_failure_of_ours_is_not_the_writers_and_is_said(log: Log) -> None:
    await log.pg.execute(TABLE)
    await log.pg.execute("alter table t add x int")
    await log.pg.execute("""
        create or replace function notifiws.capture_fallback_sql(watch_id int, target regclass, op text) returns text
        language sql as $$ select 'nonsense' $$""")
    await log.pg.execute("insert into t values (1)")
    assert await log.cut() == []
    row = (await log.query("watches"))[0]
    assert not row["in_force"]
    assert "events were lost" in row["problem"]
    assert "nonsense" in row["problem"]


async def test_a_dump_restored_elsewhere_gives_tables_other_oids(log: Log) -> None:
    await log.pg.execute(TABLE)
    await log.pg.execute("update notifiws.watch_entry set target = 1")
    assert [dict(row)["in_force"] for row in await log.query("watches")] == [True]
    await log.pg.execute("select notifiws.refresh_watches(true)")
    await log.pg.execute("insert into t values (1)")
    assert len(await log.cut()) == 1
    assert await log.pg.fetchval("select target = 't'::regclass from notifiws.watch_entry")


async def test_a_role_that_lost_its_grant_still_captures(log: Log) -> None:
    superuser = await log.database.connect(superuser=True)
    owner = await log.pg.fetchval("select current_user")
    await superuser.execute(
        f"create table ajena (id int primary key, v int); grant select, trigger on ajena to {owner}"
    )
    await log.pg.execute("select notifiws.watch('ajena', 'a')")
    await superuser.execute(f"revoke all on ajena from {owner}; alter table ajena owner to writer")
    await superuser.execute("insert into ajena values (1, 1); update ajena set v = 2")
    assert [e["op"] for e in await log.events()] == ["insert", "update"]
    assert "grant select" in (await log.query("watches"))[0]["problem"]
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await log.pg.execute("select * from ajena")
