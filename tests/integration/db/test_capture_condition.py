"""A watch's condition: which texts are let in, what it lets out, and that what fails in it is never the writer's."""

from typing import Any

import asyncpg
import pytest

from tests.integration.db.log import Log, Replica

TABLE = """
create table productos (id int primary key, nombre text, stock int not null default 0, minimo int, secreto text);
create function public.bajo(stock int, minimo int) returns boolean language sql as 'select stock < minimo';
create type public.color as enum ('rojo', 'azul');
"""
# Each ends where Postgres says so, and says why.
REFUSED = {
    "": "is empty",
    " \n": "is empty",
    "true) ; drop table productos; --": "syntax error",
    "true); drop table productos; select (true": "syntax error",
    "true) union select (true": "syntax error",
    "true] || array[true": "syntax error|must be type boolean",
    "true /*": "unterminated /\\* comment",
    "true -- )": None,
    "'": "unterminated quoted string",
    "$a$ ": "unterminated dollar-quoted string",
    "true, false": "must be type boolean, not type record",
    "new.stock": "must be type boolean, not type integer",
    "stock > 1": "ambiguous",
    "new.nada > 1": "column new.nada does not exist",
    "tg_op = 'INSERT'": 'column "tg_op" does not exist',
    "new.nombre > 1": "operator does not exist: text > integer",
    "bajo(new.stock, new.minimo)": "function bajo\\(integer, integer\\) does not exist",
    "count(*) > 1": "aggregate functions are not allowed",
    "row_number() over () > 1": "window functions are not allowed",
    "generate_series(1, 2) > 1": "set-returning functions are not allowed",
    "exists (select 1)": "cannot use subquery",
    "new.id in (select id from public.productos)": "cannot use subquery",
    "new.id in (values (1))": "cannot use subquery",
    "new.ctid = old.ctid": "column new.ctid does not exist",
    "new.id = $1": "there is no parameter",
    "1 / 0 = 1": "division by zero",
    "true; select true": "syntax error",
    "true order by 1": "syntax error",
    "select true": "syntax error",
}  # fmt: skip


async def test_only_one_boolean_expression_over_new_and_old_is_let_in(log: Log) -> None:
    await log.pg.execute(TABLE)
    for condition, reason in REFUSED.items():
        watch = log.pg.execute("select notifiws.watch('productos', 'bajos', condition => $1)", condition)
        if reason is None:
            await watch
            continue
        with pytest.raises(asyncpg.PostgresError, match=reason) as refusal:
            await watch
        assert "condition on public.productos for channel bajos" in str(refusal.value)
        assert "condition_trial" not in str(refusal.value)
        assert refusal.value.hint
    assert "secreto" in (refusal.value.hint or "")
    assert await log.pg.fetchval("select count(*) from pg_class where relname ~ 'trial'") == 0
    assert await log.pg.fetchval("select condition from notifiws.watches") == "true -- )"


async def watch(log: Log, condition: str, channel: str = "bajos", **parts: Any) -> None:
    extra = "".join(f", {name} => {value}" for name, value in parts.items())
    await log.pg.execute(f"select notifiws.watch('productos', $1, condition => $2{extra})", channel, condition)


def brief(rows: list[asyncpg.Record]) -> list[tuple[str, str | None]]:
    return [(row["op"], row["key"]) for row in rows]


STEPS = """
insert into productos (id, nombre, stock, minimo) values (1, 'a', 5, 3), (2, 'b', 1, 3), (3, 'c', 4, null);
update productos set stock = stock - 3;
update productos set id = id + 10 where id in (1, 3);
delete from productos where stock < 0 or id > 10;
truncate productos;
"""


@pytest.mark.parametrize("always", [False, True], ids=["statement", "row"])
async def test_rows_pass_by_sqls_logic_and_pairs_are_decided_once(log: Log, always: bool) -> None:
    await log.pg.execute(TABLE)
    await watch(log, "new.stock < new.minimo and (old is null or old.stock >= old.minimo)", always=always)
    await watch(log, "public.bajo(old.stock, old.minimo)", channel="eran", always=always, columns="'{stock}'")
    await log.pg.execute(STEPS)
    rows = await log.cut()
    assert brief([row for row in rows if row["channel"] == "bajos"]) == [
        ("insert", '{"id":2}'),
        ("update", '{"id":1}'),
        ("truncate", None),
    ]
    eran = [row for row in rows if row["channel"] == "eran"]
    assert brief(eran) == [
        ("update", '{"id":2}'),
        ("delete", '{"id":1}'), ("insert", '{"id":11}'),
        *[("delete", key) for key in ('{"id":2}', '{"id":11}')],
        ("truncate", None),
    ]  # fmt: skip
    assert eran[0]["new"] == '{"id":2,"stock":-2}'
    assert await log.pg.fetchval("select count(*) from notifiws.incident") == 0


@pytest.mark.parametrize("always", [False, True], ids=["statement", "row"])
async def test_a_condition_that_fails_is_not_the_writers(log: Log, always: bool) -> None:
    await log.pg.execute(TABLE)
    await watch(log, "100 / new.stock > 10", always=always)
    await watch(log, "true", channel="todos", always=always)
    await log.pg.execute("insert into productos values (1, 'a', 5), (2, 'b', 0), (3, 'c', 2), (4, 'd', 50)")
    rows = await log.cut()
    assert [row["key"] for row in rows if row["channel"] == "bajos"] == ['{"id":1}', '{"id":3}']
    assert len(rows) == 6
    await log.pg.execute("update productos set stock = stock + 1; insert into productos values (5, 'e', 0)")
    assert [row["key"] for row in await log.cut() if row["channel"] == "bajos"] == [f'{{"id":{n}}}' for n in (1, 2, 3)]
    states = {row["channel"]: row for row in await log.query("watches")}
    assert "its condition failed: division by zero" in states["bajos"]["problem"]
    assert (states["bajos"]["in_force"], states["todos"]["in_force"]) == (False, True)


async def test_a_large_update_after_a_small_one_is_not_compared_row_by_row(log: Log) -> None:
    """Its pairs are joined by a plan that was made for two rows. Quadratic, it would take minutes."""
    await log.pg.execute(TABLE)
    await log.pg.execute("select notifiws.watch('productos', 'p', condition => 'new.stock > 0')")
    await log.pg.execute("insert into productos (id, stock) select g, 1 from generate_series(1, 20000) g")
    await log.cut()
    await log.pg.execute("set statement_timeout = '20s'")
    await log.pg.execute("update productos set stock = 2 where id <= 2")
    await log.pg.execute("update productos set stock = 3")
    assert await log.pg.fetchval("select count(*) from notifiws.outbox where op = 'update'") == 20_002


async def test_watching_with_another_condition_replaces_it_in_place(log: Log) -> None:
    await log.pg.execute(TABLE)
    await watch(log, "new.stock > 0")
    triggers = "select array_agg(oid order by oid) from pg_trigger where tgname like 'notifiws_%'"
    before = await log.pg.fetchval(triggers)
    holder, writer = await log.session(), await log.session()
    await writer.execute("insert into productos values (0, 'x', 1)")
    await holder.execute("begin; insert into productos values (1, 'a', 1)")
    await watch(log, "new.stock > 10")  # waits for nobody
    assert await log.pg.fetchval(triggers) == before
    await holder.execute("commit")
    await writer.execute("insert into productos values (2, 'b', 5), (3, 'c', 11)")
    assert [row["key"] for row in await log.cut()] == ['{"id":0}', '{"id":1}', '{"id":3}']
    await log.pg.execute("select notifiws.watch('productos', 'bajos')")
    await writer.execute("insert into productos values (4, 'd', 0)")
    assert len(await log.cut()) == 1


HOSTILE = """
create function public.igual(a text, b text) returns boolean language plpgsql
    as $$ begin raise exception 'ran as %', current_user; end $$;
create operator public.= (leftarg = text, rightarg = text, procedure = public.igual);
create operator public.<> (leftarg = text, rightarg = text, procedure = public.igual);
create function public.lower(a text) returns text language plpgsql
    as $$ begin raise exception 'ran as %', current_user; end $$;
grant all on productos to writer;
"""


async def test_what_others_put_into_public_does_not_run(log: Log) -> None:
    await log.pg.execute(TABLE)
    await watch(log, "lower(new.nombre) = 'a' and new.nombre <> 'b'")
    superuser = await log.database.connect(superuser=True)
    await superuser.execute(HOSTILE)
    writer = await log.session("writer")
    await writer.execute("""
        create temp table productos (x int); create temp table new (stock int); create temp table old (stock int);
        create function pg_temp.lower(a text) returns text language sql as 'select chr(1/0)';
        set search_path = pg_temp, public, pg_catalog;
        insert into public.productos values (1, 'A'), (2, 'b')""")
    await log.pg.execute("alter table productos add extra int")  # the slow way too
    await writer.execute("insert into public.productos values (3, 'a'), (4, 'b')")
    assert brief(await log.cut()) == [("insert", '{"id":1}'), ("insert", '{"id":3}')]
    assert await log.pg.fetchval("select count(*) from notifiws.incident") == 0


@pytest.mark.parametrize("always", [False, True], ids=["statement", "row"])
async def test_changes_inside_changes_are_asked_the_condition(log: Log, always: bool) -> None:
    await log.pg.execute(TABLE)
    await watch(log, "new.id is null or new.stock >= 0", always=always)
    await log.pg.execute("""
        create function aa() returns trigger language plpgsql as $$ begin
            update productos set stock = stock + 100, nombre = old.nombre where id = new.id; return null; end $$;
        create function bb() returns trigger language plpgsql as $$ begin
            update productos set stock = stock + 100 where id = new.id; return null; end $$;
        create trigger bb after insert on productos for each row execute function bb();
        insert into productos values (1, 'a', 5), (2, 'b', -200)""")
    replica = Replica()
    for row in await log.cut():
        if row["op"] == "update" and row["key"] not in replica.rows:
            replica.rows[row["key"]] = row["new"]
        else:
            replica.rows[row["key"]] = row["new"]
    assert {key: '"stock":105' in row for key, row in replica.rows.items()} == {'{"id":1}': True}


DDL = {
    "dropped": ("alter table productos drop secreto", "alter table productos add secreto text"),
    "renamed": ("alter table productos rename secreto to clave", "alter table productos rename clave to secreto"),
    "swapped": (
        "alter table productos rename secreto to x; alter table productos rename nombre to secreto;"
        " alter table productos rename x to nombre",
        "alter table productos rename nombre to x; alter table productos rename secreto to nombre;"
        " alter table productos rename x to secreto",
    ),
}


@pytest.mark.parametrize("always", [False, True], ids=["statement", "row"])
async def test_a_condition_that_no_longer_compiles_stops_its_watch_loudly(log: Log, always: bool) -> None:
    for name, (ddl, undo) in DDL.items():
        await log.pg.execute(TABLE)
        await watch(log, "new.secreto = 'no'", always=always)
        await log.pg.execute("insert into productos values (1, 'si', 1, 1, 'no')")
        assert len(await log.cut()) == 1
        await log.pg.execute(ddl)
        warnings: list[str] = []
        log.pg.add_log_listener(lambda _, message, kept=warnings: kept.append(message.message))
        await log.pg.execute(
            "insert into productos (id) values (2); update productos set stock = 2; delete from productos"
        )
        assert await log.cut() == []
        assert any("secreto" in warning for warning in warnings)
        for _ in range(2):
            await log.query("refresh_watches")
            row = (await log.query("watches"))[0]
            assert not row["in_force"]
            assert "secreto" in row["problem"]
        assert row["problem"].startswith("stopped")
        await log.pg.execute("insert into productos (id) values (2)")
        assert await log.cut() == []
        await log.pg.execute(undo)
        await log.query("refresh_watches")
        await log.pg.execute("insert into productos (id, secreto) values (3, 'no')")
        # a column of the same name is another one
        assert len(await log.cut()) == (0 if name == "dropped" else 1)
        await log.pg.execute("select notifiws.watch('productos', 'bajos', condition => 'true')")
        await log.pg.execute("insert into productos (id) values (4)")
        assert len(await log.cut()) == 1
        assert (await log.query("watches"))[0]["in_force"]
        await log.pg.execute(
            "select notifiws.unwatch('productos', 'bajos'); drop table productos; drop function bajo; drop type color"
        )


BOTH = """
create table r (id int primary key, dueno text, v int); grant all on r to writer;
alter table r enable row level security; alter table r force row level security;
create policy suyas on r using (dueno = current_user);
create unlogged table u (id int primary key generated always as identity, v int);
create table "x.y" ("a.b" int primary key, "new" int, "old" int, "passed" int, "place" int, "notifiws#place" int);
"""
CONDITIONS = [
    ("r", "new.v is null or new.v > 0"),
    ("u", "old is null"),
    ("u", "new is distinct from old"),
    ('"x.y"', 'new."new" is distinct from old."new" -- "notifiws#"'),
]


async def test_both_ways_to_fire_agree(log: Log) -> None:
    """Whole rows, odd names, rows that neither the writer's nor our role could look up."""
    await log.pg.execute(BOTH)
    for n, (table, condition) in enumerate(CONDITIONS):
        for mode, always in (("s", False), ("r", True)):
            await log.pg.execute(
                "select notifiws.watch($1::text::regclass, $2, condition => $3, always => $4)",
                table, f"{mode}{n}", condition, always,
            )  # fmt: skip
    writer = await log.session("writer")
    await writer.execute(
        "insert into r values (1, 'writer', 1), (2, 'writer', 0); update r set v = v + 1; delete from r"
    )
    await log.pg.execute("""
        insert into u (v) values (1), (null); update u set v = v; update u set v = 2; delete from u;
        insert into "x.y" values (1, 2, 3, 4, 5, 6), (2, null, 0, 0, 0, 0);
        update "x.y" set "old" = 7; update "x.y" set "new" = 7;
        update "x.y" set "a.b" = "a.b" + 10, "new" = 1""")
    channels: dict[str, list[tuple[str | None, ...]]] = {}
    for row in await log.cut():
        texts = tuple(row[name] for name in ("op", "key", "new", "old"))
        channels.setdefault(row["channel"], []).append(texts)
    for n in range(len(CONDITIONS)):
        assert channels[f"s{n}"] == channels[f"r{n}"]
    assert [len(channels[f"s{n}"]) for n in range(len(CONDITIONS))] == [5, 2, 6, 7]
    assert await log.pg.fetchval("select count(*) from notifiws.incident") == 0
