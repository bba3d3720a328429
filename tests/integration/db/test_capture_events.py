"""Which events a statement leaves in the log, and in which order."""

import json
from typing import Any

import asyncpg
import pytest

from tests.integration.db.log import Log, Replica

TABLE = """
create table productos (id int primary key, nombre text, stock int not null default 0);
select notifiws.watch('productos', 'stock');
"""


def op(name: str, **parts: Any) -> dict[str, Any]:
    return {"op": name, "channel": "stock", **parts}


async def test_each_op_as_the_contract_says(log: Log) -> None:
    await log.pg.execute(TABLE)
    await log.pg.execute("insert into productos values (7, 'Té', 12)")
    await log.pg.execute("update productos set stock = 3")
    await log.pg.execute("delete from productos")
    await log.pg.execute("truncate productos")
    row = {"id": 7, "nombre": "Té", "stock": 3}
    assert await log.events() == [
        op("insert", key={"id": 7}, new=row | {"stock": 12}),
        op("update", key={"id": 7}, new=row, old={"id": 7, "stock": 12}),
        op("delete", key={"id": 7}, old=row),
        op("truncate"),
    ]


async def test_a_rolled_back_transaction_and_savepoint_leave_nothing(log: Log) -> None:
    await log.pg.execute(TABLE)
    await log.pg.execute("begin; insert into productos values (1); rollback")
    await log.pg.execute(
        "begin; insert into productos values (2); savepoint s; insert into productos values (3); rollback to s; commit"
    )
    assert [e["key"]["id"] for e in await log.events()] == [2]


async def test_a_changed_key_is_a_delete_and_an_insert_in_the_order_of_the_rows(log: Log) -> None:
    await log.pg.execute(TABLE)
    await log.pg.execute("insert into productos values (1), (2)")
    await log.cut()
    await log.pg.execute("update productos set id = id - 1, stock = 5")
    assert [(e["op"], e["key"]["id"]) for e in await log.events()] == [
        ("delete", 1), ("insert", 0), ("delete", 2), ("insert", 1),
    ]  # fmt: skip


async def test_one_statement_keeps_the_order_of_its_rows(log: Log) -> None:
    await log.pg.execute(TABLE)
    await log.pg.execute("insert into productos select 3000 - n, null, n from generate_series(1, 2000) n")
    await log.pg.execute("update productos set stock = stock + 1")
    keys = [e["key"]["id"] for e in await log.events()]
    assert keys == [3000 - n for n in range(1, 2001)] * 2


async def test_upsert_merge_copy_and_cte(log: Log) -> None:
    await log.pg.execute(TABLE)
    await log.pg.copy_records_to_table("productos", records=[(1, "a", 1), (2, "b", 2)])
    await log.pg.execute(
        "insert into productos values (2, 'c', 3), (3, 'd', 4) on conflict (id) do update set nombre = excluded.nombre"
    )
    await log.pg.execute("""merge into productos p using (values (1), (4)) as v (id) on p.id = v.id
        when matched then delete when not matched then insert values (v.id, 'e', 5)""")
    # a key that goes and comes back in one statement: the delete comes first
    await log.pg.execute("""merge into productos p using (values (2, 20), (20, 2)) as v (id, fresh) on p.id = v.id
        when matched then delete when not matched then insert values (v.fresh, 'again', 6)""")
    await log.pg.execute("with gone as (delete from productos where id = 3 returning *) "
                         "insert into productos select id, 'moved', stock from gone")  # fmt: skip
    await log.pg.execute("update productos set stock = 9 where false")
    replica = Replica()
    for row in await log.cut():
        replica.apply(row)
    assert len(replica.rows) == 3
    await replica.check(log, "productos")


async def test_two_cascades_that_move_one_row_twice(log: Log) -> None:
    """Both foreign keys are part of the key: one statement changes the row's key two times."""
    await log.pg.execute("""
        create table usuarios (id int primary key);
        create table amigos (a int references usuarios on update cascade on delete cascade,
                             b int references usuarios on update cascade on delete cascade,
                             desde int, primary key (a, b));
        select notifiws.watch('amigos', 'amigos');
        insert into usuarios values (1), (2), (3); insert into amigos values (1, 2, 10), (2, 3, 20), (3, 1, 30);
        update usuarios set id = id + 10;
        delete from usuarios where id in (11, 12)""")
    replica = Replica()
    for row in await log.cut():
        replica.apply(row)
    assert replica.rows == {}
    await replica.check(log, "amigos")


async def test_set_null_twice_in_one_statement(log: Log) -> None:
    await log.pg.execute("""
        create table p (id int primary key);
        create table c (id int primary key, x int references p on delete set null,
                        y int references p on delete set null);
        select notifiws.watch('c', 'c');
        insert into p values (1), (2); insert into c values (1, 1, 2), (2, 2, 1), (3, 1, 1); delete from p""")
    replica = Replica()
    for row in await log.cut():
        replica.apply(row)
    await replica.check(log, "c")


async def test_composite_key_in_key_order_and_no_key(log: Log) -> None:
    await log.pg.execute("""
        create table compuesta (v int, b text, a int, primary key (a, b));
        create table sinclave (x int, y text);
        select notifiws.watch('compuesta', 'stock'), notifiws.watch('sinclave', 'stock');
        insert into compuesta values (1, 'é', 2); update compuesta set v = 3;
        insert into sinclave values (1, 'a'), (1, 'a'); update sinclave set x = 2; delete from sinclave""")
    rows = await log.cut()
    assert rows[0]["key"] == '{"a":2,"b":"é"}'
    assert rows[1]["old"] == '{"v":1,"b":"é","a":2}'
    assert [row["key"] for row in rows[2:]] == [None] * 6
    assert [row["op"] for row in rows[2:]] == ["insert"] * 2 + ["update"] * 2 + ["delete"] * 2
    assert rows[4]["old"] == '{"x":1}'


async def test_columns_and_events_that_were_asked_for(log: Log) -> None:
    await log.pg.execute("""
        create table t (a int, id int primary key, secreto text, b int);
        select notifiws.watch('t', 'stock', events => '{insert,update}', columns => '{b}');
        insert into t values (1, 2, 'x', 3); update t set b = 4, secreto = 'y';
        update t set secreto = 'z'; delete from t""")
    assert await log.events() == [
        op("insert", key={"id": 2}, new={"id": 2, "b": 3}),
        op("update", key={"id": 2}, new={"id": 2, "b": 4}, old={"id": 2, "b": 3}),
        op("update", key={"id": 2}, new={"id": 2, "b": 4}, old={"id": 2}),
    ]
    text = await log.pg.fetchval("select string_agg(o::text, '') from notifiws.outbox o")
    assert not set("xyz") & set(text.replace("update", ""))


async def test_several_watches_on_one_table(log: Log) -> None:
    await log.pg.execute(TABLE)
    await log.pg.execute("select notifiws.watch('productos', 'otro', events => '{delete}', columns => '{}')")
    await log.pg.execute("insert into productos values (1); delete from productos")
    assert [(e["channel"], e["op"], e.get("old")) for e in await log.events()] == [
        ("stock", "insert", None),
        ("stock", "delete", {"id": 1, "nombre": None, "stock": 0}),
        ("otro", "delete", {"id": 1}),
    ]


async def test_more_columns_than_a_function_takes_arguments(log: Log) -> None:
    columns = ", ".join(f"c{n} int default {n}" for n in range(300))
    await log.pg.execute(f"create table ancha (id int primary key, {columns}); select notifiws.watch('ancha', 'stock')")
    await log.pg.execute("insert into ancha values (1); update ancha set c7 = null, c299 = 0; update ancha set id = 2")
    replica = Replica()
    rows = await log.cut()
    for row in rows:
        replica.apply(row)
    assert json.loads(rows[1]["old"]) == {"id": 1, "c7": 7, "c299": 299}
    await replica.check(log, "ancha")


async def test_a_writer_needs_no_grant_and_its_search_path_does_not_matter(log: Log) -> None:
    await log.pg.execute(TABLE)
    await log.pg.execute("grant insert, update, select on productos to writer")
    writer = await log.session("writer")
    await writer.execute("""create temp table outbox (x int); create temp table productos (x int);
        set search_path = pg_temp, public;
        insert into public.productos values (1); update public.productos set stock = 1""")
    assert [e["op"] for e in await log.events()] == ["insert", "update"]
    for statement in ("select * from notifiws.outbox", "select notifiws.emit('a', '1')", "select notifiws.ring()"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await writer.execute(statement)


async def test_a_writers_triggers_on_another_watched_table(log: Log) -> None:
    await log.pg.execute(TABLE)
    await log.pg.execute("""
        create table ventas (id int primary key, producto int);
        select notifiws.watch('ventas', 'sales');
        create function descontar() returns trigger language plpgsql as $$
        begin update productos set stock = stock - 1 where id = new.producto; return new; end $$;
        create trigger descontar after insert on ventas for each row execute function descontar();
        insert into productos values (1, 'a', 5);
        insert into ventas values (1, 1), (2, 1)""")
    events = await log.events()
    assert [e["new"].get("stock") for e in events if e["channel"] == "stock"] == [5, 4, 3]
    assert [e["key"]["id"] for e in events if e["channel"] == "sales"] == [1, 2]
