"""Values of every kind of type, inserted, changed one by one and deleted: the events are the table byte for byte."""

from tests.integration.db.log import Log
from tests.integration.db.replay import READ_AS_CAPTURED, Replay

TYPES = """
create type moneda as enum ('peso', 'dólar "azul"', E'tab\\t');
create domain positivo as numeric(20, 4) check (value >= 0);
create domain notas as text[];
create type linea as (producto text, precio positivo, cuando timestamptz, colores moneda[]);
create type caja as (nombre text, lineas linea[], dentro int4range);
create domain caja_llena as caja;
create type tramo as range (subtype = float8);
"""
# The type, and values that follow each other in one row.
VALUES = {
    "smallint": ["-32768", "32767"],
    "bigint": ["9223372036854775807", "-9223372036854775808"],
    "numeric": ["'NaN'", "'Infinity'", "'-Infinity'", "1e-300", "1e300", "0.10", "0.100", "-0.0"],
    "numeric(30, 10)": ["12345678901234567890.1", "0"],
    "real": ["'NaN'", "'-Infinity'", "1.1", "'-0'", "3.4e38"],
    "double precision": ["'NaN'", "'Infinity'", "'-0'", "0", "5e-324", "1.7976931348623157e308", "0.1::float8 + 0.2"],
    "money": ["-1234.50", "0"],
    "text": ["''", "E'\\\\ \" / \\b\\f\\n\\r\\t \\u0001 \\u2028 🧉'", "'</script>'", "'null'", "repeat('ñ', 9000)"],
    "varchar(5)": ["'a'", "'a '"],
    "char(5)": ["'a'", "'b'"],
    "name": ["'x'"],
    '"char"': ["'x'", "''"],
    "boolean": ["true", "false"],
    "bytea": ["''", "'\\x00ff27'", "decode(repeat('ab', 5000), 'hex')"],
    "date": ["'infinity'", "'-infinity'", "'0044-03-15 BC'", "'5874897-12-31'"],
    "time": ["'24:00'", "'00:00:00.000001'"],
    "timetz": ["'10:00-11:30'", "'10:00+15:59:59'"],
    "timestamp": ["'infinity'", "'2024-02-29 23:59:59.999999'", "'0001-01-01 BC'"],
    "timestamptz": ["'-infinity'", "'2026-03-29 01:30 Europe/Madrid'", "'2026-11-24 10:00:00.5-03'", "'294276-12-31'"],
    "interval": ["'1 year 2 mons -3 days 04:05:06.7'", "'-1 mon'", "'24 hours'", "'1 day'", "'0'"],
    "json": ["'{\"a\" : 1.00,\n \"a\":[ ]}'", "'null'", "'\"x\"'", "'1e5'"],
    "jsonb": ["'{\"b\": 1.00, \"a\": {\"c\": [1, null, \"\\u00f1\"]}}'", "'null'", "'[]'", "'1.0'", "'1.00'"],
    "jsonpath": ["'$.a[*] ? (@ > 1)'"],
    "uuid": ["'00000000-0000-0000-0000-00000000000A'"],
    "inet": ["'10.0.0.1/8'", "'::1'"],
    "cidr": ["'10.0.0.0/8'"],
    "macaddr8": ["'08:00:2b:01:02:03:04:05'"],
    "bit(3)": ["'101'", "'111'"],
    "bit varying": ["''", "'10'"],
    "point": ["'(1,2)'", "'(NaN,Infinity)'"],
    "polygon": ["'((0,0),(1,0),(1,1))'"],
    "circle": ["'<(0,0),1.5>'"],
    "tsvector": ["'fat:1A cat:3'", "''"],
    "tsquery": ["'a & !b'"],
    "pg_lsn": ["'16/B374D848'"],
    "xid8": ["'18446744073709551615'"],
    "oid": ["4294967295"],
    "regtype": ["'moneda'", "'int4'"],
    "moneda": ["'peso'", "'dólar \"azul\"'", "E'tab\\t'"],
    "positivo": ["0", "1.5"],
    "notas": ["'{}'", "'{a,NULL,\"b \\\"c\\\"\"}'"],
    "int[]": ["'{}'", "'{1,NULL,3}'", "'{{1,2},{3,4}}'", "'{NULL}'"],
    "timestamptz[]": ["array['2026-11-24 10:00-03'::timestamptz, 'infinity']"],
    "moneda[]": ["'{peso,\"dólar \\\"azul\\\"\"}'"],
    "jsonb[]": ["array['{\"a\": 1.0}'::jsonb, null, '[]']"],
    "int4range": ["'empty'", "'[1,5]'", "'(,)'"],
    "numrange": ["'[1.0,2.00)'", "'(1,)'"],
    "daterange": ["'[2026-01-01,infinity]'"],
    "tstzrange": ["'[2026-03-29 01:30 Europe/Madrid,)'", "'empty'"],
    "tramo": ["'[0.1,Infinity]'"],
    "int4multirange": ["'{}'", "'{[1,3],[7,9)}'"],
    "tstzmultirange": ["'{[2026-01-01 00:00-03,2026-01-02 00:00+09),[2026-02-01,)}'"],
    "tramo[]": ["array['[1,2]'::tramo, 'empty', null]"],
    "linea": ["('té', 1.5, '2026-11-24 10:00-03', '{peso}')", "(null, null, null, null)"],
    "caja": ["('a', array[('x', 1, null, null)::linea, null], '[1,2]')", "('', '{}', 'empty')"],
    "caja_llena": ["('a', null, null)"],
    "caja[]": ["array[('a', array[('x', 1, now(), '{}')::linea], null)::caja]"],
}  # fmt: skip
KEYS = (
    "numeric", "double precision", "text", "bytea", "timestamptz", "interval", "jsonb", "moneda", "int[]", "tstzrange",
    "linea",
)  # fmt: skip
HOSTILE = """
set timezone = 'Asia/Kathmandu'; set bytea_output = escape; set extra_float_digits = -10; set datestyle = 'SQL, DMY';
set intervalstyle = sql_standard; set search_path = public; set quote_all_identifiers = on
"""


async def test_every_type(log: Log) -> None:
    columns = ", ".join(f"c{n} {name}" for n, name in enumerate(VALUES))
    await log.pg.execute(READ_AS_CAPTURED + TYPES)
    await log.pg.execute(f"create table con_clave (id int primary key, {columns})")
    await log.pg.execute(f"create table sin_clave (id int, {columns})")
    await log.pg.execute("select notifiws.watch('con_clave', 'a'), notifiws.watch('con_clave', 'a2', always => true)")
    await log.pg.execute("select notifiws.watch('sin_clave', 'a')")
    writer = await log.session()
    await writer.execute(HOSTILE)
    replay, by_rows = Replay("public.con_clave", "public.sin_clave"), Replay("public.con_clave")

    async def check() -> None:
        rows = await log.cut()
        replay.apply(rows, "a")
        by_rows.apply(rows, "a2")
        for each in (replay, by_rows):
            await each.check(log.pg)

    for table in ("con_clave", "sin_clave"):
        await writer.execute(f"insert into {table} (id) values (0)")
        for n, (name, values) in enumerate(VALUES.items()):
            await writer.execute(f"insert into {table} (id) values ({n + 1})")
            for value in values:
                await writer.execute(f"update {table} set c{n} = ({value})::{name} where id = {n + 1}")
        await check()
        for n in range(0, len(VALUES), 2):
            await writer.execute(f"update {table} set c{n} = null where id = {n + 1}")
        everything = ", ".join(f"c{n} = ({values[-1]})::{name}" for n, (name, values) in enumerate(VALUES.items()))
        await writer.execute(f"update {table} set {everything}; update {table} set id = -id where id < 9")
        await check()
        await writer.execute(f"delete from {table} where id > 3")
        await check()
    assert await log.pg.fetch("select * from notifiws.incident") == []


async def test_as_a_key(log: Log) -> None:
    """Keys of several types: events find their row by the text, whatever equality says of it."""
    await log.pg.execute(READ_AS_CAPTURED + TYPES)
    keys = {name: VALUES[name] for name in KEYS}
    replay = Replay(*(f"public.k{n}" for n in range(len(keys))))
    writer = await log.session()
    await writer.execute(HOSTILE)
    for n, (name, values) in enumerate(keys.items()):
        await log.pg.execute(f"create table k{n} (v int, k {name} primary key); select notifiws.watch('k{n}', 'a')")
        await writer.execute(f"insert into k{n} values (1, {values[0]})")
        for value in values:
            await writer.execute(f"update k{n} set k = {value}; update k{n} set v = v + 1")
        for value in values:
            await writer.execute(
                f"insert into k{n} values (0, {value}) on conflict (k) do update set v = -1, k = excluded.k"
            )
    replay.apply(await log.cut())
    await replay.check(log.pg)


async def test_wide_and_large(log: Log) -> None:
    columns = ", ".join(f'"c ""{n}"" ñ" text default {n}' for n in range(300))
    await log.pg.execute(READ_AS_CAPTURED + f"create table ancha (id int primary key, {columns}, j jsonb)")
    await log.pg.execute("select notifiws.watch('ancha', 'a'), notifiws.watch('ancha', 'a2', always => true)")
    await log.pg.execute("""insert into ancha (id, j) select 1, jsonb_build_object('x', repeat('é"', 300000))""")
    await log.pg.execute("""update ancha set "c ""7"" ñ" = null; update ancha set id = 2;
        update ancha set j = j || '{"y": 1.0}'""")
    rows = await log.cut()
    assert max(len(row["new"] or "") for row in rows) > 900_000
    for channel in ("a", "a2"):
        replay = Replay("public.ancha")
        replay.apply(rows, channel)
        await replay.check(log.pg)
        assert replay.events.total() == 5
