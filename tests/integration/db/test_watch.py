"""watch, unwatch, adopt, unadopt, emit: what they refuse and how, what they leave behind, who may call them."""

import asyncio

import asyncpg
import pytest

from tests.integration.db.log import Log

TABLES = """
create table t (id int primary key, v int);
create table particionada (id int) partition by list (id);
create table parte partition of particionada for values in (1);
create view vista as select * from t;
create materialized view materializada as select * from t;
create temp table temporal (id int primary key);
create foreign data wrapper w; create server s foreign data wrapper w;
create foreign table ajena partition of particionada for values in (2) server s;
create foreign table lejana (id int) server s;
create sequence secuencia;
create index indice on t (v);
"""
UNSUPPORTED = {
    "particionada": "partitions of .* foreign tables.*ajena", "ajena": "foreign", "lejana": "foreign", "vista": "view",
    "materializada": "view", "temporal": "temporary",
    "secuencia": "not a table", "indice": "not a table", "pg_catalog.pg_class": "system", "notifiws.outbox": "system",
    "information_schema.sql_features": "system",
}  # fmt: skip


BAD_CALLS = [
    ("watch('nada', 'a')", asyncpg.UndefinedTableError, "nada"),
    ("watch(1::oid::regclass, 'a')", asyncpg.UndefinedTableError, "does not exist"),
    ("watch(null, 'a')", asyncpg.NullValueNotAllowedError, "table"),
    ("watch('t', 'Ventas')", asyncpg.InvalidParameterValueError, "'Ventas' is not a channel name"),
    ("watch('t', null)", asyncpg.InvalidParameterValueError, "null is not a channel name"),
    ("watch('t', E'a\\n')", asyncpg.InvalidParameterValueError, "channel name"),
    ("watch('t', repeat('a', 129))", asyncpg.InvalidParameterValueError, "channel name"),
    ("watch('t', 'a', '{insert,upsert}')", asyncpg.InvalidParameterValueError, "upsert"),
    ("watch('t', 'a', '{}')", asyncpg.InvalidParameterValueError, "events"),
    ("watch('t', 'a', null)", asyncpg.InvalidParameterValueError, "events"),
    ("watch('t', 'a', array['insert', null])", asyncpg.InvalidParameterValueError, "events"),
    ("watch('t', 'a', columns => '{v,nada,\"Ñ\"}')", asyncpg.UndefinedColumnError, 'no column nada, "Ñ"'),
    ("watch('t', 'a', columns => '{ctid}')", asyncpg.UndefinedColumnError, "ctid"),
    ("watch('t', 'a', columns => array['v', null])", asyncpg.UndefinedColumnError, "no column null"),
    ("unwatch('t', 'a')", asyncpg.UndefinedObjectError, "not watched"),
    ("unadopt('x')", asyncpg.UndefinedObjectError, "not adopted"),
    ("adopt('', 'a')", asyncpg.InvalidParameterValueError, "NOTIFY channel"),
    ("adopt(repeat('ñ', 32), 'a')", asyncpg.InvalidParameterValueError, "NOTIFY channel"),
    ("adopt('notifiws', 'a')", asyncpg.InvalidParameterValueError, "itself"),
    ("adopt('x', 'A')", asyncpg.InvalidParameterValueError, "channel name"),
    ("emit('A', '1')", asyncpg.InvalidParameterValueError, "channel name"),
    ("emit('a', null)", asyncpg.NullValueNotAllowedError, "payload"),
]


async def leftovers(log: Log) -> list[str]:
    rows = await log.pg.fetch(
        """select tgname from pg_trigger t join pg_class c on c.oid = t.tgrelid
          where not tgisinternal and relnamespace <> 'notifiws'::regnamespace
        union all select proname from pg_proc where proname ~ '^capture_\\d'
        union all select channel from notifiws.watch_entry
        union all select part::regclass::text from notifiws.watch_part
        union all select message from notifiws.incident"""
    )
    return [row[0] for row in rows]


async def test_what_is_not_whole_is_refused_with_its_reason(log: Log) -> None:
    superuser = await log.database.connect(superuser=True)
    await superuser.execute(TABLES)
    for table, reason in UNSUPPORTED.items():
        with pytest.raises(asyncpg.FeatureNotSupportedError, match=f"^unsupported: .*{reason}") as refusal:
            await superuser.execute(f"select notifiws.watch('{table}', 'a')")
        assert refusal.value.hint
    assert await leftovers(log) == []


async def test_bad_calls(log: Log) -> None:
    await log.pg.execute("create table t (id int primary key, v int)")
    for call, error, text in BAD_CALLS:
        with pytest.raises(error, match=text) as refusal:
            await log.pg.execute(f"select notifiws.{call}")
        assert refusal.value.hint or error is asyncpg.UndefinedTableError, call  # Postgres' own has none
    assert await leftovers(log) == []


async def test_watching_twice_replaces_and_unwatch_leaves_nothing(log: Log) -> None:
    await log.pg.execute("create table t (id int primary key, v int)")
    for call in ("", ", columns => '{}'", ", events => '{insert}'", ", events => '{insert,delete}'", ""):
        await log.pg.execute(f"select notifiws.watch('t', 'a'{call})")
        assert [dict(row)["in_force"] for row in await log.query("watches")] == [True]
        await log.pg.execute("insert into t values (1, 1)")
        expected = {"id": 1} if "columns" in call else {"id": 1, "v": 1}
        assert [e["new"] for e in await log.events()] == [expected]
        await log.pg.execute("delete from t")
        assert len(await log.cut()) == (0 if call == ", events => '{insert}'" else 1)
    await log.pg.execute("select notifiws.unwatch('t', 'a')")
    assert await leftovers(log) == []


async def test_a_table_made_anew_takes_the_watch_of_the_dropped_one_over(log: Log) -> None:
    """Else the old one would be there for good, and who unwatches it by its name would stop the new one."""
    for _ in range(3):
        await log.pg.execute("create table t (id int primary key); select notifiws.watch('t', 'a'); drop table t")
    await log.pg.execute(
        "create table t (id int primary key); select notifiws.watch('t', 'a'); insert into t values (1)"
    )
    assert [(row["table"], row["in_force"]) for row in await log.query("watches")] == [("public.t", True)]
    assert [e["new"] for e in await log.events()] == [{"id": 1}]
    await log.pg.execute("drop table t; create table t (id int primary key); select notifiws.unwatch('t', 'a')")
    assert await log.query("watches") == []
    assert await leftovers(log) == []
    with pytest.raises(asyncpg.UndefinedObjectError, match="not watched on channel 'a'"):
        await log.pg.execute("select notifiws.unwatch('t', 'a')")


async def test_watch_and_adopt_tell_the_listener(log: Log) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()
    listener = await log.session()
    await listener.add_listener("notifiws_config", lambda *_: told.put_nowait("config"))
    await log.pg.execute("create table t (id int primary key)")
    for call in ("watch('t', 'a')", "adopt('x', 'b')", "adopt('x', 'c')", "unadopt('x')", "unwatch('t', 'a')"):
        await log.pg.execute(f"select notifiws.{call}")
        await asyncio.wait_for(told.get(), 5)
        if call == "adopt('x', 'c')":
            assert [row[0] for row in await log.query("declared_channels")] == ["a", "c"]
    assert await log.query("declared_channels") == []


async def test_a_watch_does_not_make_writers_wait_behind_an_open_transaction(log: Log) -> None:
    await log.pg.execute("create table t (id int primary key)")
    holder, writer = await log.session(), await log.session()
    await holder.execute("begin; insert into t values (1)")
    watching = asyncio.create_task(log.pg.execute("select notifiws.watch('t', 'a')"))
    loop = asyncio.get_running_loop()
    slowest = 0.0
    for n in range(2, 60):
        before = loop.time()
        await writer.execute(f"insert into t values ({n})")
        slowest = max(slowest, loop.time() - before)
        await asyncio.sleep(0.01)
    assert not watching.done()
    assert slowest < 0.5  # one short lock wait, on a busy machine
    await holder.execute("commit")
    await asyncio.wait_for(watching, 20)
    await writer.execute("insert into t values (1000)")
    assert [e["key"]["id"] for e in await log.events()] == [1000]


async def test_somebody_elses_table_needs_trigger_and_select(log: Log) -> None:
    superuser = await log.database.connect(superuser=True)
    await superuser.execute("create table ajena (id int primary key)")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await log.pg.execute("select notifiws.watch('ajena', 'a')")
    owner = await log.pg.fetchval("select current_user")
    await superuser.execute(f"grant select, trigger on ajena to {owner}")
    await log.pg.execute("select notifiws.watch('ajena', 'a'); select notifiws.watch('ajena', 'a', '{insert,update}')")
    await superuser.execute("insert into ajena values (1)")
    assert len(await log.cut()) == 1
    await log.pg.execute("select notifiws.unwatch('ajena', 'a')")
    assert await leftovers(log) == []


async def test_emit_is_for_members_of_its_role(log: Log) -> None:
    superuser = await log.database.connect(superuser=True)
    writer = await log.session("writer")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await writer.execute("select notifiws.emit('a', '1')")
    await superuser.execute("grant notifiws_emitter to writer")
    try:
        await writer.execute("begin; select notifiws.emit('a', '{\"x\": 1}'); select notifiws.emit('b', '2'); commit")
        await writer.execute("begin; select notifiws.emit('a', '3'); rollback")
        for call in ("adopt('x', 'a')", "watch('pg_class', 'a')", "rotate('1 h')", "cut(1, 1)", "start_epoch()"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await writer.execute(f"select notifiws.{call}")
    finally:
        await superuser.execute("revoke notifiws_emitter from writer")
    assert [(e["channel"], e["payload"]) for e in await log.events()] == [("a", {"x": 1}), ("b", 2)]


async def test_watches_says_what_is_wrong(log: Log) -> None:
    async def problem() -> tuple[bool, str]:
        row = (await log.query("watches"))[0]
        return row["in_force"], row["problem"] or ""

    await log.pg.execute("create table t (id int primary key, v int); select notifiws.watch('t', 'a')")
    assert await problem() == (True, "")
    await log.pg.execute("alter table t disable trigger user")
    assert await problem() == (False, "triggers are disabled: alter table … enable trigger")
    await log.pg.execute("alter table t enable trigger user")
    name = await log.pg.fetchval("select tgname from pg_trigger where tgrelid = 't'::regclass and tgname ~ 'insert'")
    await log.pg.execute(f"drop trigger {name} on t")
    assert await problem() == (False, "triggers are missing: watch it again")
    await log.pg.execute("select notifiws.watch('t', 'a')")
    assert await problem() == (True, "")
    await log.pg.execute("drop table t")
    assert await problem() == (False, "the table is gone: unwatch it")
    await log.query("forget", "public.t", "a")
    assert await leftovers(log) == []
