"""Partitioned tables and inheritance: every way in which a row can come or go, through the parent or around it."""

import asyncpg
import pytest

from tests.integration.db.log import Log, Replica

# A partition with columns in another order, one that lost a column, one that is itself partitioned.
TABLES = """
create table ventas (id int, tienda int, total numeric, nota text, primary key (id, tienda)) partition by list (tienda);
create table ventas_1 partition of ventas for values in (1);
create table ventas_2 (sobra int, nota text, total numeric, tienda int not null, id int not null);
alter table ventas_2 drop sobra;
alter table ventas attach partition ventas_2 for values in (2);
create table ventas_3 partition of ventas for values in (3, 4) partition by range (id);
create table ventas_3a partition of ventas_3 for values from (0) to (100);
create table ventas_3b partition of ventas_3 for values from (100) to (1000);
"""
WRITES = """
insert into ventas values (1, 1, 1.50, 'a'), (2, 2, 2, 'b'), (3, 3, 3, 'c'), (103, 4, null, 'd');
insert into ventas_1 values (4, 1, 4, 'e'); insert into ventas_2 (id, tienda, nota) values (5, 2, 'f');
insert into ventas_3b (id, tienda) values (150, 3);
update ventas set total = coalesce(total, 0) + 1; update ventas_2 set nota = null where id = 2;
update ventas set tienda = 2 where id = 1; update ventas set id = id + 100 where tienda = 3 and id < 100;
insert into ventas values (2, 2, 9, 'z') on conflict (id, tienda) do update set total = excluded.total;
merge into ventas v using (values (5, 2), (6, 1)) as s (id, tienda) on v.id = s.id and v.tienda = s.tienda
    when matched then delete when not matched then insert values (s.id, s.tienda);
delete from ventas_3 where id = 150;
"""


async def follow(log: Log, replicas: dict[str, Replica]) -> list[asyncpg.Record]:
    rows = await log.cut()
    for row in rows:
        replicas[row["channel"]].apply(row)
    return rows


async def quiet(log: Log) -> None:
    """Nothing was lost, nothing is wrong."""
    assert [row["problem"] for row in await log.query("watches") if row["problem"]] == []
    assert await log.pg.fetchval("select count(*) from notifiws.incident") == 0


async def test_rows_written_through_the_parent_and_directly(log: Log) -> None:
    await log.pg.execute(TABLES)
    await log.pg.execute("""select notifiws.watch('ventas', 'ventas'), notifiws.watch('ventas_2', 'dos'),
        notifiws.watch('ventas_3', 'tres'),
        notifiws.watch('ventas', 'algo', columns => '{total}', condition => 'new.total > 2')""")
    replicas = {name: Replica() for name in ("ventas", "dos", "tres")} | {"algo": Replica()}
    await log.pg.execute(WRITES)
    await log.pg.copy_records_to_table("ventas", records=[(200, 4, 1, "q"), (201, 1, 1, "r")])
    rows = await log.cut()
    for row in rows:
        if row["channel"] != "algo":
            replicas[row["channel"]].apply(row)
    moved = [(r["op"], r["key"]) for r in rows if r["channel"] == "ventas" and '"id":1,' in r["key"]]
    assert moved == [
        ("insert", '{"id":1,"tienda":1}'), ("update", '{"id":1,"tienda":1}'),
        ("delete", '{"id":1,"tienda":1}'), ("insert", '{"id":1,"tienda":2}'),
    ]  # fmt: skip
    assert {row["source"] for row in rows if row["channel"] == "ventas"} == {"public.ventas"}
    assert next(row["new"] for row in rows if row["channel"] == "algo") == '{"id":3,"tienda":3,"total":3}'
    for channel, table in (("ventas", "ventas"), ("dos", "ventas_2"), ("tres", "ventas_3")):
        await replicas[channel].check(log, table)
    await quiet(log)
    # once more by the slow way, and after the functions were made anew
    await log.pg.execute("alter table ventas rename nota to titulo; alter table ventas add extra int default 7")
    await log.pg.execute("update ventas set extra = 8; insert into ventas_2 (id, tienda) values (70, 2)")
    rows = await log.cut()
    assert len([row for row in rows if row["channel"] == "ventas"]) > 3
    assert rows[-1]["new"].endswith('"titulo":null,"extra":7}') or '"extra":7' in rows[-1]["new"]
    assert await log.value("refresh_watches") == 4
    await log.pg.execute("alter table ventas alter total type float8; delete from ventas")
    for row in await log.cut():
        if row["channel"] == "ventas":
            replicas["ventas"].rows.pop(row["key"], None)
    assert len(replicas["ventas"].rows) == 0
    await quiet_but_changed(log)


async def quiet_but_changed(log: Log) -> None:
    assert await log.pg.fetch("select message from notifiws.incident") == []
    assert all(row["in_force"] for row in await log.query("watches"))


async def test_truncate_of_the_whole_and_of_a_part(log: Log) -> None:
    await log.pg.execute(TABLES)
    await log.pg.execute("create table otra (id int primary key); select notifiws.watch('ventas', 'ventas')")
    replicas = {"ventas": Replica()}
    fill = "insert into ventas select n, 1 + n % 4, n from generate_series(1, 20) n;"
    for truncate, expected in {
        "truncate ventas_1": {"delete": 5},
        "truncate ventas_3": {"delete": 10},
        "truncate ventas": {"truncate": 1},
        "truncate ventas_2, ventas": {"delete": 5, "truncate": 1},
        "do $$ begin truncate ventas; insert into ventas values (1, 1); truncate ventas_1; end $$":
            {"truncate": 1, "insert": 1, "delete": 1},
    }.items():  # fmt: skip
        await log.pg.execute("truncate ventas;" + fill)
        await follow(log, replicas)
        await log.pg.execute(truncate)
        rows = await follow(log, replicas)
        assert {op: sum(row["op"] == op for row in rows) for op in expected} == expected
        assert len(rows) == sum(expected.values())
        await replicas["ventas"].check(log, "ventas")
    await log.pg.execute(
        fill
        + "begin; truncate ventas; rollback;"
        + "begin; savepoint a; truncate ventas; rollback to a; truncate ventas_2; commit"
    )
    await follow(log, replicas)
    await replicas["ventas"].check(log, "ventas")
    await quiet(log)
    # a writer who may truncate a partition and nothing of ours
    await log.pg.execute("grant truncate on ventas_1 to writer")
    writer = await log.session("writer")
    await writer.execute("truncate ventas_1")
    await follow(log, replicas)
    await replicas["ventas"].check(log, "ventas")


@pytest.mark.parametrize("exact", [True, False], ids=["event trigger", "refresh"])
async def test_partitions_that_come_and_go(log: Log, exact: bool) -> None:
    if exact:  # a superuser may make event triggers
        superuser = await log.database.connect(superuser=True)
        await superuser.execute("drop schema notifiws cascade")
        from db.migrate import migrate

        await migrate(superuser)
        log = Log(log.database, superuser)
    await log.pg.execute(TABLES)
    await log.pg.execute("select notifiws.watch('ventas', 'ventas', condition => 'coalesce(new.id, old.id) < 1000')")
    replicas = {"ventas": Replica()}
    await log.pg.execute("insert into ventas select n, 1 + n % 4, n from generate_series(1, 20) n")
    # made empty: nothing is lost, with or without
    await log.pg.execute("create table ventas_5 partition of ventas for values in (5)")
    if not exact:
        state = (await log.query("watches"))[0]
        assert "partitions whose truncation is not seen: public.ventas_5" in state["problem"]
        assert not state["in_force"]
        assert await log.value("refresh_watches") == 1
    assert await log.value("refresh_watches") == 0
    await log.pg.execute("insert into ventas values (50, 5); truncate ventas_5; insert into ventas_5 values (51, 5)")
    await follow(log, replicas)
    await replicas["ventas"].check(log, "ventas")
    await quiet(log)
    # attached with rows, detached with rows
    for ddl, reason in (
        ("create table ventas_6 (like ventas); insert into ventas_6 (id, tienda) values (60, 6), (6000, 6);"
         "alter table ventas attach partition ventas_6 for values in (6)", "ventas_6 was attached with rows"),
        ("alter table ventas detach partition ventas_1", "ventas_1 was detached"),
        ("drop table ventas_2", "was dropped"),
    ):  # fmt: skip
        await log.pg.execute("; ".join(ddl.split(";")))
        await log.query("refresh_watches")
        problem = (await log.query("watches"))[0]["problem"]
        if exact and "drop table" not in ddl:
            assert problem is None
            rows = await follow(log, replicas)
            assert {row["op"] for row in rows} == {"insert" if "attach " in ddl else "delete"}
            assert "6000" not in str([row["key"] for row in rows])
        else:
            assert reason in problem
            await log.cut()
            await log.pg.execute(
                "select notifiws.watch('ventas', 'ventas', condition => 'coalesce(new.id, old.id) < 1000')"
            )
    # what is detached is no longer ours; truncated before it is dropped, nothing is lost
    await log.pg.execute("insert into ventas_1 values (70, 1); truncate ventas_1; drop table ventas_1")
    assert await log.cut() == []
    await log.pg.execute("truncate ventas_5; drop table ventas_5")
    await log.query("refresh_watches")
    await quiet(log)
    await log.pg.execute("select notifiws.unwatch('ventas', 'ventas')")
    assert await log.pg.fetchval("select count(*) from pg_trigger t where tgname like 'notifiws%'") == 0
    if exact:
        await log.pg.execute("drop schema notifiws cascade; create table despues (id int)")
        assert await log.pg.fetchval("select count(*) from pg_event_trigger") == 0


async def test_inheritance_means_the_tables_own_rows(log: Log) -> None:
    await log.pg.execute("""
        create table padre (id int primary key, v int);
        create table hija (extra text, primary key (id)) inherits (padre);
        select notifiws.watch('padre', 'padre'), notifiws.watch('hija', 'hija');
        insert into padre values (1, 1); insert into hija values (2, 2, 'x'), (3, 3, 'y');
        update padre set v = v + 1; update only padre set v = 7; delete from padre where id = 3;
        update hija set extra = 'z'
        """)
    replicas = {"padre": Replica(), "hija": Replica()}
    await follow(log, replicas)
    await replicas["padre"].check(log, "only padre")
    await replicas["hija"].check(log, "hija")
    assert len(replicas["hija"].rows) == 1
    await log.pg.execute("truncate padre")
    rows = await follow(log, replicas)
    assert [row["op"] for row in rows] == ["truncate", "truncate"]
    await quiet(log)


@pytest.mark.parametrize("ddl", ["attach", "inherit", "child"])
async def test_a_table_that_gets_a_parent_is_watched_by_row_triggers(log: Log, ddl: str) -> None:
    await log.pg.execute("""
        create table sola (id int primary key, v int); select notifiws.watch('sola', 'sola');
        insert into sola values (1, 1); create table padre (id int not null, v int);
        create table partida (id int not null, v int) partition by range (id)""")
    await log.pg.execute({
        "attach": "alter table partida attach partition sola for values from (0) to (100)",
        "inherit": "alter table sola inherit padre",
        "child": "create table nieta () inherits (sola)",
    }[ddl])  # fmt: skip
    state = (await log.query("watches"))[0]
    assert not state["in_force"]
    assert "refresh_watches" in state["problem"]
    assert await log.value("refresh_watches") == 1
    assert "may be missing" in (await log.query("watches"))[0]["problem"]
    await log.cut()
    parent = {"attach": "partida", "inherit": "padre", "child": "sola"}[ddl]
    await log.pg.execute(
        f"update {parent} set v = 2; insert into sola values (2, 2); delete from {parent} where id = 1"
    )
    assert [row["op"] for row in await log.cut()] == ["update", "insert", "delete"]
    await log.pg.execute("select notifiws.watch('sola', 'sola')")
    await quiet(log)
    await log.pg.execute({
        "attach": "alter table partida detach partition sola",
        "inherit": "alter table sola no inherit padre",
        "child": "drop table nieta",
    }[ddl])  # fmt: skip
    await log.query("refresh_watches")
    assert (await log.query("watches"))[0]["mode"] == "statement"
    await log.pg.execute("update sola set v = 3; truncate sola")
    assert [row["op"] for row in await log.cut()] == ["update", "truncate"]
