"""Every way of writing, one by one: its events, applied from empty, are the tables."""

import asyncio

import asyncpg
import pytest

from db import loader
from tests.integration.db.log import BIG, Log
from tests.integration.db.replay import READ_AS_CAPTURED, Replay

TABLES = """
create table tiendas (id int primary key, nombre text);
create table ventas (id int primary key, tienda int references tiendas on update cascade on delete cascade,
                     total numeric);
create table lineas (venta int references ventas on update cascade on delete cascade, n int, texto text,
                     primary key (venta, n));
create table diario (que text, cuando timestamptz default now());
select notifiws.watch(t, 'todo') from unnest('{tiendas,ventas,lineas,diario}'::regclass[]) t;
insert into tiendas values (1, 'uno'), (2, 'dos'), (3, 'tres');
insert into ventas select n, n % 3 + 1, n * 1.10 from generate_series(1, 9) n;
insert into lineas select n, m, 'línea' from generate_series(1, 9) n, generate_series(1, 3) m;
grant select, insert, update, delete, truncate on all tables in schema public to writer;
"""
NAMES = ("public.tiendas", "public.ventas", "public.lineas", "public.diario")


@pytest.fixture
async def replay(log: Log) -> Replay:
    """The replica of the tables above, filled."""
    await log.pg.execute(TABLES + READ_AS_CAPTURED)
    replay = Replay(*NAMES)
    replay.apply(await log.cut())
    await replay.check(log.pg)
    return replay


async def ops(log: Log, replay: Replay) -> list[tuple[str, str]]:
    """Apply what is new, hold it to the tables, and say which (table, op) came, each once in order."""
    rows = await log.cut()
    replay.apply(rows)
    await replay.check(log.pg)
    assert await log.pg.fetch("select * from notifiws.incident") == []
    return list(dict.fromkeys((row["source"].removeprefix("public."), row["op"]) for row in rows))


async def test_one_row_and_many(log: Log, replay: Replay) -> None:
    await log.pg.execute("insert into ventas values (20, 1, 1); update ventas set total = 2 where id = 20")
    await log.pg.execute(
        "delete from ventas where id = 20; insert into ventas values (20, 1, 1), (21, 2, null), (22, 3, 'NaN')"
    )
    await log.pg.execute("update ventas set total = total * 1.0000; delete from lineas where n > 1")
    assert await ops(log, replay) == [
        ("ventas", "insert"),
        ("ventas", "update"),
        ("ventas", "delete"),
        ("lineas", "delete"),
    ]


async def test_copy(log: Log, replay: Replay) -> None:
    await log.pg.copy_records_to_table(
        "ventas", records=[(n, n % 3 + 1, n) for n in range(100, 600)], columns=["id", "tienda", "total"]
    )
    await log.pg.copy_records_to_table("diario", records=[("igual", None)] * 5)
    with pytest.raises(asyncpg.UniqueViolationError):
        await log.pg.copy_records_to_table("ventas", records=[(700, 1, 1), (100, 1, 1)])
    assert await ops(log, replay) == [("ventas", "insert"), ("diario", "insert")]


async def test_on_conflict(log: Log, replay: Replay) -> None:
    await log.pg.execute("""
        insert into ventas values (9, 1, 0), (10, 1, 0), (8, 1, 0)
            on conflict (id) do update set total = ventas.total + 1;
        insert into ventas values (9, 1, 0), (11, 1, 0) on conflict do nothing;
        insert into ventas values (1, 1, 0), (12, 1, 0) on conflict (id) do update set id = ventas.id + 50, tienda = 2;
        insert into ventas values (2, 1, 0) on conflict (id) do update set total = 0 where ventas.total < 0""")
    assert ("ventas", "update") in await ops(log, replay)


async def test_merge(log: Log, replay: Replay) -> None:
    await log.pg.execute("""
        merge into ventas v using (select n, n % 4 as que from generate_series(1, 20) n) s on v.id = s.n
        when matched and s.que = 0 then delete
        when matched and s.que = 1 then update set total = -total
        when matched and s.que = 2 then update set id = v.id + 100
        when matched then do nothing
        when not matched and s.que = 3 then insert values (s.n, 1, 0)
        when not matched then do nothing""")
    seen = await ops(log, replay)
    assert {("ventas", "insert"), ("ventas", "update"), ("ventas", "delete")} <= set(seen)


async def test_ctes_that_write_several_tables(log: Log, replay: Replay) -> None:
    await log.pg.execute("""
        with tienda as (insert into tiendas values (9, 'nueve') returning id),
             vieja as (delete from lineas where venta = 1 returning *),
             subida as (update ventas set total = total + 1 where id < 5 returning id)
        insert into diario (que) select texto from vieja union all select id::text from subida""")
    assert len(await ops(log, replay)) == 4


async def test_cascades(log: Log, replay: Replay) -> None:
    await log.pg.execute("update tiendas set id = id + 10; update ventas set id = -id")
    await log.pg.execute("delete from tiendas where id = 11")
    assert await log.pg.fetchval("select count(*) from lineas") == 18
    await ops(log, replay)


async def test_truncate(log: Log, replay: Replay) -> None:
    await log.pg.execute("truncate tiendas, diario cascade; insert into tiendas values (1, 'otra vez')")
    seen = await ops(log, replay)
    assert {(table.removeprefix("public."), "truncate") for table in NAMES} <= set(seen)
    await log.pg.execute(
        "begin; truncate diario; insert into diario values ('a'); rollback; truncate only diario restart identity"
    )
    assert await ops(log, replay) == [("diario", "truncate")]


async def test_more_subtransactions_than_a_snapshot_holds(log: Log, replay: Replay) -> None:
    """Past 64 the snapshots of others say `suboverflowed`; the writer's rows are still in one tick."""
    await log.pg.execute("""
        begin;
        do $$ begin
            for n in 1 .. 300 loop
                begin
                    insert into ventas values (1000 + n, 1, n);
                    update ventas set total = total + 1 where id = 1;
                    if n % 3 = 0 then raise exception 'no'; end if;
                exception when raise_exception then null;
                end;
            end loop;
        end $$""")
    other = await log.session()
    await other.execute("insert into diario values ('entretanto')")
    rows = await other.fetch(loader.query("cut"), BIG, BIG)
    assert [row["source"] for row in rows] == ["public.diario"]
    replay.apply(rows)
    await log.pg.execute("commit")
    assert await ops(log, replay) == [("ventas", "insert"), ("ventas", "update")]
    assert await log.pg.fetchval("select count(*) from ventas") == 209


async def test_triggers_of_the_customer_that_write_other_watched_tables(log: Log, replay: Replay) -> None:
    await log.pg.execute("""
        create function anotar() returns trigger language plpgsql as $$
        begin
            insert into diario (que) values (tg_op || coalesce(new.id, old.id));
            update tiendas set nombre = nombre || '.' where id = coalesce(new.tienda, old.tienda);
            return coalesce(new, old);
        end $$;
        create trigger a before insert or update or delete on ventas for each row execute function anotar();
        create function contar() returns trigger language plpgsql as $$
        begin insert into diario (que) select count(*)::text from nuevas; return null; end $$;
        create trigger z after insert on ventas referencing new table as nuevas
            for each statement execute function contar();
        insert into ventas values (30, 1, 1), (31, 2, 1); update ventas set total = 0 where id > 5;
        delete from ventas where id = 30""")
    await ops(log, replay)


async def test_rules_and_views_that_write(log: Log, replay: Replay) -> None:
    await log.pg.execute("""
        create view baratas as select * from ventas where total < 5 with check option;
        insert into baratas values (40, 1, 2); update baratas set total = total - 1; delete from baratas where id = 40;
        create rule anotar as on update to tiendas do also insert into diario (que) values (new.nombre);
        update tiendas set nombre = 'x' where id = 1""")
    assert len(await ops(log, replay)) == 5


async def test_two_phase_commit(log: Log, replay: Replay) -> None:
    writer = await log.session()
    relay = await log.session()
    assert await relay.fetchval("select pg_try_advisory_lock(1852797033, 2)")
    # a relay sleeps, so this writer would have to ring, which PREPARE refuses
    await writer.execute("begin; insert into diario values ('no')")
    with pytest.raises(asyncpg.FeatureNotSupportedError, match="PREPARE"):
        await writer.execute("prepare transaction 'uno'")
    assert await relay.fetchval("select pg_advisory_unlock(1852797033, 2)")
    await writer.execute("set notifiws.doorbell = off")
    await writer.execute("begin; update ventas set total = 0; delete from lineas; prepare transaction 'dos'")
    await log.pg.execute("insert into diario values ('entretanto')")
    assert await ops(log, replay) == [("diario", "insert")]
    await writer.execute("begin; insert into diario values ('tampoco'); prepare transaction 'tres'")
    await writer.execute("rollback prepared 'tres'")
    assert await ops(log, replay) == []
    await writer.execute("commit prepared 'dos'")
    assert await ops(log, replay) == [("ventas", "update"), ("lineas", "delete")]


async def test_a_role_without_any_grant_of_ours(log: Log, replay: Replay) -> None:
    writer = await log.session("writer")
    for schema_right in ("usage", "create"):
        assert not await log.pg.fetchval(f"select has_schema_privilege('writer', 'notifiws', '{schema_right}')")
    await writer.execute(
        "insert into diario values ('hola'); update ventas set total = 1; delete from tiendas where id = 1;"
        " truncate lineas"
    )
    assert len(await ops(log, replay)) == 6
    await log.pg.execute("alter table ventas enable row level security; create policy p on ventas using (id < 5)")
    await writer.execute(
        "update ventas set total = 3; insert into ventas values (3, 2, 1) on conflict (id) do update set total = 8;"
        " delete from ventas"
    )
    await ops(log, replay)


async def test_a_hostile_search_path(log: Log, replay: Replay) -> None:
    """Objects named like those that a capture uses, first in the writer's path; operators too."""
    writer = await log.session()
    await writer.execute("""
        create schema trampa;
        create function trampa.row_to_json(record) returns json language plpgsql as $$ begin return '"trampa"'; end $$;
        create function trampa.concat_ws(text, variadic text[]) returns text language sql as $$ select 'trampa' $$;
        create function trampa.nextval(regclass) returns bigint language sql as $$ select 1::bigint $$;
        create function trampa.no(int, int) returns bool language sql as $$ select false $$;
        create operator trampa.= (leftarg = int, rightarg = int, function = trampa.no);
        create operator trampa.< (leftarg = int, rightarg = int, function = trampa.no);
        create temp table outbox (x int); create temp table ventas (id int);
        set search_path = trampa, pg_temp, public, pg_catalog;
        insert into public.ventas values (50, 1, 1); update public.ventas set total = 2;
        delete from public.ventas where total = 2""")
    assert len(await ops(log, replay)) == 4  # the lines of the deleted rows too


async def test_open_across_many_ticks_and_idle(log: Log, replay: Replay) -> None:
    """Others go on, tick by tick; what it wrote early comes when it commits, after what it waited for."""
    slow = await log.session()
    await slow.execute("begin; insert into ventas values (60, 1, 1); update tiendas set nombre = 'lento' where id = 3")
    for n in range(12):
        await log.pg.execute(
            f"insert into ventas values ({70 + n}, 2, {n}); update ventas set total = total + 1 where id = {70 + n}"
        )
        assert await ops(log, replay) == [("ventas", "insert"), ("ventas", "update")]
    await slow.execute(
        "savepoint s; update ventas set total = 0 where id >= 70; rollback to s; delete from ventas where id = 75"
    )
    assert await ops(log, replay) == []
    await slow.execute("commit")
    assert await ops(log, replay) == [("ventas", "insert"), ("tiendas", "update"), ("ventas", "delete")]


async def test_a_writer_that_dies_leaves_nothing(log: Log, replay: Replay) -> None:
    dying = await log.session()
    await dying.execute("begin; truncate diario; delete from ventas")
    assert await log.pg.fetchval("select pg_terminate_backend($1)", dying.get_server_pid())
    async with asyncio.timeout(10):
        while await log.pg.fetchval("select true from pg_stat_activity where pid = $1", dying.get_server_pid()):
            await asyncio.sleep(0.01)
    await log.pg.execute("insert into diario values ('sigue')")
    assert await ops(log, replay) == [("diario", "insert")]


async def test_replica_role_is_not_captured_and_said(log: Log, replay: Replay) -> None:
    """Without `always`: Postgres fires no ordinary trigger there. watches cannot see another session's setting."""
    superuser = await log.database.connect(superuser=True)
    await superuser.execute("set session_replication_role = replica; insert into diario values ('réplica')")
    assert await log.cut() == []


async def test_a_partition_truncated_by_a_transaction_with_an_older_snapshot(log: Log) -> None:
    """TRUNCATE takes what is there, not what its transaction sees: the difference cannot be logged, so it is said."""
    await log.pg.execute("""
        create table p (id int, zona int, primary key (id, zona)) partition by list (zona);
        create table p1 partition of p for values in (1); create table p2 partition of p for values in (2);
        select notifiws.watch('p', 'p'); insert into p values (1, 1), (2, 2)""")
    old = await log.session()
    await old.execute("begin isolation level repeatable read; select 1 from p")
    await log.pg.execute("insert into p values (3, 1)")
    await log.cut()
    await old.execute("truncate p1; commit")
    assert [(row["op"], row["key"]) for row in await log.cut()] == [("delete", '{"id":1,"zona":1}')]
    (watch,) = await log.query("watches")
    assert not watch["in_force"]
    assert "p1 was truncated by a repeatable read transaction" in watch["problem"]
