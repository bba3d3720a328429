"""Values arrive as row_to_json writes them under fixed settings, whatever type they have and whoever writes them."""

import json
from typing import Any

import pytest

from tests.integration.db.log import Log, Replica

TYPES = r'''
create type color as enum ('rojo', 'azul "ñ"');
create type punto as (x int, y text);
create domain precio as numeric check (value >= 0);
create schema "Tienda Ñ";
create table "Tienda Ñ"."Ventas ""x""" (
    id int primary key, "a'b" text, "ñ ""q""\" text, "new" int, "old" int, n int, o int, place int, part int, e int,
    "select" bool, num numeric, f float8, f4 float4, j json, jb jsonb, b bytea, c color, p punto, d precio,
    arr text[], r int4range, dr daterange, tr tstzrange, u uuid, dt date, ts timestamp, tz timestamptz, iv interval,
    tm time, ttz timetz, ip inet, bits bit(4), mny char(5), pts punto[], "notifiws" int, key text, op text, row text,
    created int generated always as (id * 2) stored);
select notifiws.watch('"Tienda Ñ"."Ventas ""x"""', 'stock');
'''
TABLE = '"Tienda Ñ"."Ventas ""x"""'
VALUES: dict[str, str] = {
    '"a\'b"': "E'q\"\\\\ \\u0001 \\t\\n \\u007f </script> 🧉 \\u2028'",
    '"ñ ""q""\\"': "repeat('ñ', 10)",
    '"new"': "1", '"old"': "2", "n": "3", "o": "4", "place": "5", "part": "6", "e": "7",
    '"select"': "true", "num": "123456789012345678901234567890.10", "f": "0.1::float8 + 0.2", "f4": "'Infinity'",
    "j": "'{\"a\" : 1.00,  \"a\":2}'", "jb": "'{\"z\": 1.00, \"a\": null}'", "b": "'\\x00ff'",
    "c": "'azul \"ñ\"'", "p": "(1, 'y\"')", "d": "1.50", "arr": "array['a', null, '\"']", "r": "'[1,5)'",
    "dr": "'[2026-01-02,2026-03-04)'", "tr": "'[2026-01-02 00:00+00,)'",
    "u": "'00000000-0000-0000-0000-000000000001'", "dt": "'2026-11-24'", "ts": "'infinity'",
    "tz": "'2026-11-24 10:00:00.5+00'", "iv": "'1 year 2 days 03:04:05'", "tm": "'10:00'", "ttz": "'10:00+05'",
    "ip": "'10.0.0.1/8'", "bits": "'1010'", "mny": "'a'", "pts": "array[(1, 'x')::punto]", "key": "'k'", "row": "'r'",
}  # fmt: skip
HOSTILE_SESSION = """
set timezone = 'Asia/Tokyo'; set bytea_output = escape; set extra_float_digits = -10; set datestyle = 'SQL, DMY';
set intervalstyle = iso_8601; set xmloption = document; set standard_conforming_strings = on; set search_path = pg_temp;
"""


async def rows_of(log: Log) -> list[str]:
    await log.pg.execute(
        "set timezone = 'UTC'; set intervalstyle = postgres; set bytea_output = hex; set extra_float_digits = 1"
    )
    return [row[0] for row in await log.pg.fetch(f"select row_to_json(v)::text from {TABLE} v order by id")]


@pytest.mark.parametrize("always", [False, True], ids=["statement", "row"])
async def test_every_type_whatever_the_session_has_set(log: Log, always: bool) -> None:
    await log.pg.execute(TYPES)
    await log.pg.execute(f"select notifiws.watch('{TABLE}', 'stock', always => {always})")
    names, values = ", ".join(VALUES), ", ".join(VALUES.values())
    await log.pg.execute(f"insert into {TABLE} (id, {names}) values (1, {values})")
    writer = await log.session()
    await writer.execute(HOSTILE_SESSION.replace("pg_temp", "public"))
    await writer.execute(f"insert into {TABLE} (id, {names}) values (2, {values}); insert into {TABLE} (id) values (3)")
    first, second, third = await log.cut()
    assert first["source"] == TABLE
    assert [first["new"], second["new"], third["new"]] == await rows_of(log)
    assert first["key"] == '{"id":1}'

    # everything at once, then one by one: old holds the former texts of what changed, and nothing else
    sets = ", ".join(f"{name} = null" for name in VALUES)
    await writer.execute(f"update {TABLE} set {sets} where id = 1; update {TABLE} set id = id where id = 3")
    await writer.execute(f"delete from {TABLE} where id = 2")
    update, same, delete = await log.cut()
    before = json.loads(first["new"], parse_float=str, parse_int=str)
    changed = {k: v for k, v in before.items() if k == "id" or (k not in ("created", "notifiws", "op"))}
    assert json.loads(update["old"], parse_float=str, parse_int=str) == changed
    for name in ("num", "j", "jb", "f", "d"):
        text = first["new"].split(f'"{name}":', 1)[1][:20]
        assert f'"{name}":{text[:8]}' in update["old"]
    assert same["old"] == '{"id":3}'
    assert delete["old"] == second["new"]


CHANGES = [
    ("numeric", "1.0", "1.00"),
    ("float8", "'NaN'", "0"),
    ("float8", "0", "'-0'"),
    ("json", "'{}'", "'{ }'"),
    ("jsonb", "'1.0'", "'1.00'"),
    ("xml", "'<a/>'", "'<a></a>'"),
    ("interval", "'24 hours'", "'1 day'"),
    ("text", "null", "''"),
    ("char(3)", "'a'", "'b'"),
    ("point", "'(1,2)'", "'(1,3)'"),
]


async def test_a_change_that_equality_does_not_see(log: Log) -> None:
    for type_name, before, after in CHANGES:
        if type_name == "xml" and log.pg.get_server_version().major > 15:
            continue  # the embedded servers are built without
        await log.pg.execute(f"create table t (id int primary key, v {type_name}); select notifiws.watch('t', 'stock')")
        await log.pg.execute(f"insert into t values (1, {before}); update t set v = {after}; update t set v = {after}")
        insert, update, again = await log.cut()
        value = insert["new"].split('"v":', 1)[1]
        assert update["old"] == '{"id":1,"v":' + value
        assert again["old"] == '{"id":1}'
        await log.pg.execute("select notifiws.unwatch('t', 'stock'); drop table t")


async def test_a_key_of_any_type(log: Log) -> None:
    await log.pg.execute("""
        create table t (num numeric, txt text, b bytea, v int, primary key (txt, num, b));
        select notifiws.watch('t', 'stock');
        insert into t values (1.0, E'q"\\n', '\\x00', 1); update t set num = 1.00; update t set v = 2""")
    replica = Replica()
    rows = await log.cut()
    for row in rows:
        replica.apply(row)
    assert [row["op"] for row in rows] == ["insert", "delete", "insert", "update"]
    assert rows[0]["key"] == r'{"txt":"q\"\n","num":1.0,"b":"\\x00"}'
    await replica.check(log, "t")


async def test_five_megabytes_and_a_big_unchanged_value(log: Log) -> None:
    await log.pg.execute("create table t (id int primary key, j jsonb, v int); select notifiws.watch('t', 'stock')")
    await log.pg.execute("insert into t values (1, jsonb_build_object('x', repeat('é', 2500000)), 1)")
    await log.pg.execute("update t set v = 2")
    insert, update = await log.cut()
    assert insert["new"] == '{"id":1,"j":{"x": "' + "é" * 2_500_000 + '"},"v":1}'
    assert update["old"] == '{"id":1,"v":1}'
    assert len(update["new"]) == len(insert["new"])


@pytest.mark.parametrize("server", [18], indirect=True, ids=["pg18"])
async def test_virtual_columns_are_computed(log: Log) -> None:
    """Triggers see null in them. One whose expression fails for a row never fails that row's writer."""
    await log.pg.execute("""
        create table v (id int primary key, a int, "D ""x"" y" text generated always as ('x' || a),
                        d int generated always as (a * 2), q int generated always as (100 / a),
                        s int generated always as (a + 1) stored);
        create table vp (id int primary key, a int, d int generated always as (a * 2)) partition by range (id);
        create table vp1 partition of vp for values from (0) to (100);
        create table vp2 (a int, d int generated always as (a * 2), id int not null);
        alter table vp attach partition vp2 for values from (100) to (200);
        create function aa() returns trigger language plpgsql as $$ begin
            execute format('update %I set a = 50 where id = $1', tg_argv[0]) using new.id; return null; end $$;
        create trigger aa after insert on v for each row when (new.a = 5) execute function aa('v');
        create trigger aa after insert on vp for each row when (new.a = 5) execute function aa('vp');
        select notifiws.watch('v', 'v'), notifiws.watch('vp', 'vp'), notifiws.watch('v', 'fila', always => true),
               notifiws.watch('v', 'd', columns => '{d}', condition => 'new.d > 4 or old.d > 4')""")
    writes = """insert into {0} (id, a) values (1, 1), (2, 3), (3, 5), (150, 5); update {0} set a = a + 1;
        update {0} set id = id + 5 where id = 2; delete from {0} where id = 3;
        insert into {0} (id, a) values (180, 7)"""
    for table in ("v", "vp"):
        await log.pg.execute(writes.format(table))
    channels: dict[str, dict[str, str]] = {}
    rows = await log.cut()
    for row in rows:
        kept = channels.setdefault(row["channel"], {})
        if row["new"] is None:
            del kept[row["key"]]
        else:
            kept[row["key"]] = row["new"]
    for channel, table in (("v", "v"), ("fila", "v"), ("vp", "vp")):
        now = await log.pg.fetch(f"select row_to_json(t)::text from {table} t order by id")
        assert sorted(channels[channel].values()) == sorted(row[0] for row in now)
    update = next(row for row in rows if row["channel"] == "v" and row["op"] == "update" and '"id":1,' in row["new"])
    assert update["old"] == '{"id":1,"a":1,"D \\"x\\" y":"x1","d":2,"q":100,"s":2}'
    assert channels["d"]['{"id":7}'] == '{"id":7,"d":8}'
    assert '{"id":1}' not in channels["d"]
    assert await log.pg.fetchval("select count(*) from notifiws.incident") == 0
    await log.pg.execute("update v set a = 0 where id = 1")
    assert [row["channel"] for row in await log.cut()] == []
    problems = {row["channel"]: row["problem"] for row in await log.query("watches")}
    assert "division by zero" in problems["v"]
    assert "division by zero" in problems["fila"]
    assert problems["d"] is None  # whose columns can be computed, but the row's d is 0
    # another expression is another shape
    await log.pg.execute("alter table vp drop d; alter table vp add d int generated always as (a * 3)")
    await log.pg.execute("update vp set a = 4 where id = 1")
    assert (await log.cut())[0]["new"] == '{"id":1,"a":4,"d":12}'


async def emitted(log: Log, payload: str) -> Any:
    await log.pg.execute("select notifiws.emit('a', $1::text::jsonb)", payload)
    return (await log.cut())[0]


async def test_emit_keeps_the_payload_as_jsonb_writes_it(log: Log) -> None:
    for payload in ('{"b":1.00,"a":[1, 2]}', "null", '"ñ\\u0001"', "123456789012345678901234567890.10"):
        row = await emitted(log, payload)
        assert (row["op"], row["source"], row["key"], row["new"]) == ("emit", None, None, None)
        assert row["payload"] == await log.pg.fetchval("select $1::text::jsonb::text", payload)


async def test_adopted_payloads_are_verbatim_json_or_not(log: Log) -> None:
    payloads = ['{"a" : 1}', "hola", "", "[1,", "NaN", '"x"', " 1 ", '{"a":\x01}', "ñ 🧉", "[" * 7000]
    await log.query("adopt_payloads", ["a"] * len(payloads), payloads)
    rows = await log.cut()
    assert [row["payload"] for row in rows] == payloads
    assert [row["is_json"] for row in rows] == [True, False, False, False, False, True, True, False, False, False]
    assert {row["op"] for row in rows} == {"notify"}


async def test_a_tables_column_may_have_any_name_of_the_generated_sql(log: Log) -> None:
    names = ['"notifiws#"', '"notifiws#new"', '"notifiws#last"', '"notifiws#1#"', "n", "o", "c", "e", "place", "part"]
    names += [
        '"new"',
        '"old"',
        "old_row",
        "old_diff",
        "key_new",
        "key_old",
        "key_changed",
        "watch_id",
        "target",
        "settle",
    ]
    await log.pg.execute(f"""
        create table t (id int primary key, {", ".join(f"{name} int" for name in names)});
        select notifiws.watch('t', 'all'), notifiws.watch('t', 'some', columns => array['notifiws#', 'n']);
        create function again() returns trigger language plpgsql as $$ begin
            update t set "notifiws#" = 9 where id = new.id; return null; end $$;
        insert into t (id) values (1), (2);
        update t set "notifiws#" = 1, "notifiws#new" = 2; update t set id = id + 10;
        create trigger again after update on t for each row when (new.n = 1 and old.n is null) execute function again();
        update t set n = 1 where id = 11;
    """)
    events = [e for e in await log.events() if e["channel"] == "some"]
    assert {name: events[2][name] for name in ("op", "old")} == {"op": "update", "old": {"id": 1, "notifiws#": None}}
    assert events[-1]["new"] == {"id": 11, "notifiws#": 9, "n": 1}
    assert not await log.pg.fetchval("select count(*) from notifiws.incident")


@pytest.mark.parametrize("server", [18], indirect=True, ids=["pg18"])
async def test_texts_that_no_json_can_hold_do_not_stop_their_writer(log: Log) -> None:
    """A control character is six in JSON: 180 MB of them are more than Postgres builds."""
    await log.pg.execute("create table t (id int primary key, v text); select notifiws.watch('t', 'a')")
    warnings: list[str] = []
    log.pg.add_log_listener(lambda _, message: warnings.append(message.message))
    await log.pg.execute("insert into t values (1, 'a'), (2, repeat(chr(1), 180000000))")
    await log.pg.execute("update t set id = id + 10; delete from t")
    assert len(warnings) == 3
    assert "notifiws could not capture changes of " in warnings[0]
    assert (await log.query("watches"))[0]["problem"]
    assert await log.cut() == []
    # large ones that fit are captured, and so is what comes after
    await log.pg.execute("insert into t values (1, repeat(chr(1), 40000)), (2, 'b')")
    await log.pg.execute("update t set id = id + 10; update t set v = 'c'; delete from t; delete from t")
    rows = await log.cut()
    assert [row["op"] for row in rows] == [
        "insert",
        "insert",
        *["delete", "insert"] * 2,
        *["update"] * 2,
        *["delete"] * 2,
    ]
    assert len(rows[0]["new"]) > 240000
    assert len(warnings) == 3
