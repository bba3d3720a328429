"""The demo inventory: created once, true sums, a former one brought up to date, and nobody waits for an open writer."""

import asyncio
import json
from typing import Any

import pytest

from db import loader
from notifiws.stack import demo
from notifiws.stack.database import DatabaseAway, prepare
from notifiws.stack.ports import free_port

# What sellers did for the summary before there were live queries, in short.
FORMER = """
CREATE TABLE ventas_dia (dia date NOT NULL, ventas bigint NOT NULL, importe numeric(14, 2) NOT NULL);
CREATE FUNCTION resumen() RETURNS jsonb LANGUAGE sql AS $$ SELECT '{}'::jsonb $$;
CREATE FUNCTION contar_ventas() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE FUNCTION emitir_resumen() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM notifiws.emit('summary', public.resumen()); RETURN NULL; END $$;
CREATE TRIGGER contar_altas AFTER INSERT ON ventas FOR EACH STATEMENT EXECUTE FUNCTION contar_ventas();
CREATE TRIGGER resumen AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON ventas
    FOR EACH STATEMENT EXECUTE FUNCTION emitir_resumen();
"""


async def summary(pg: Any) -> dict[str, Any]:
    """The summary's one row, as the listener would publish it now."""
    [declared] = await pg.fetch(loader.query("live_query_claim"), 1)
    async with pg.transaction(isolation="repeatable_read", readonly=True):
        ran = await pg.fetchrow(loader.query("live_query_run"), "summary", declared["version"], None, 1_000_000)
    [found] = json.loads(ran["result"])
    assert found.keys() == {"sales_today", "revenue_today", "latest", "low_stock"}
    return dict(found)


async def touched(pg: Any) -> int:
    """How many changes there were that the live query is run for."""
    return int(await pg.fetchval("select count(*) from notifiws.outbox where op = 'touch'"))


async def truth(pg: Any) -> tuple[int, str]:
    row = await pg.fetchrow(
        "select count(*), coalesce(sum(total), 0.00)::text from ventas where creada::date = current_date"
    )
    return row[0], row[1]


async def test_prepare_creates_it_once(empty_database: Any) -> None:
    await prepare(empty_database.url, demo=True)
    pg = await empty_database.connect()
    counts = "select (select count(*) from tiendas), (select count(*) from productos), (select count(*) from stock)"
    assert tuple(await pg.fetchrow(counts)) == (6, 40, 240)
    channels = {row[0] for row in await pg.fetch("select channel from notifiws.watches")}
    assert channels == {"sales", "stock", "products"}
    await pg.execute("delete from stock where tienda_id = 1")
    await prepare(empty_database.url, demo=True)
    assert await pg.fetchval("select count(*) from stock") == 200


async def test_without_the_demo_only_the_schema_is_touched(empty_database: Any) -> None:
    await prepare(empty_database.url, demo=False)
    pg = await empty_database.connect()
    assert await pg.fetchval("select to_regclass('public.ventas')") is None


async def test_foreign_tables_of_the_same_names_are_left_alone(database: Any) -> None:
    pg = await database.connect()
    await pg.execute("create table ventas (id int primary key, producto text)")
    assert not await demo.create(pg)
    assert await pg.fetchval("select to_regclass('tiendas')") is None
    with pytest.raises(demo.NotOurs):
        await demo.sell(database.url)


async def test_the_summary_tells_the_truth_after_every_kind_of_change(database: Any) -> None:
    pg = await database.connect()
    await demo.create(pg)
    for statement in (
        "insert into ventas (tienda_id, producto_id, cantidad, total) select 1, 1, 1, 7.35 from generate_series(1, 20)",
        "update ventas set total = total + 0.01 where id <= 5",
        "update ventas set creada = creada - interval '1 day' where id = 6",
        "delete from ventas where id <= 3",
        demo._sql("sale"),
        demo._sql("sale"),
        "truncate ventas",
        "insert into ventas (tienda_id, producto_id, cantidad, total) values (2, 2, 1, 1.5)",
    ):
        before = await touched(pg)
        await pg.execute(statement)
        assert await touched(pg) > before
        told = await summary(pg)
        assert (told["sales_today"], told["revenue_today"]) == await truth(pg), statement
        assert len(told["latest"]) == min(10, await pg.fetchval("select count(*) from ventas"))
    newest = (await summary(pg))["latest"][0]
    assert newest.keys() == {"id", "producto", "tienda", "cantidad", "total", "creada"}
    assert (newest["producto"], newest["tienda"], newest["total"]) == ("Arroz bomba 1 kg", "Gràcia", "1.50")


async def test_low_stock_appears_and_vanishes(database: Any) -> None:
    pg = await database.connect()
    await demo.create(pg)
    assert (await summary(pg))["low_stock"] == []
    await pg.execute("update stock set cantidad = 0 where tienda_id = 3")
    told = await summary(pg)
    assert len(told["low_stock"]) == 20
    assert told["low_stock"][0].keys() == {"tienda_id", "producto_id", "producto", "tienda", "cantidad", "minimo"}
    await pg.execute(demo._sql("delivery"))
    assert (await summary(pg))["low_stock"] == []


async def test_an_open_transaction_stops_no_sale(database: Any) -> None:
    pg, other = await database.connect(), await database.connect()
    await demo.create(pg)
    opened = other.transaction()
    await opened.start()
    await other.execute("update stock set cantidad = 1 where tienda_id <= 5")
    await other.execute("insert into ventas (tienda_id, producto_id, cantidad, total) values (1, 1, 1, 8.95)")
    async with asyncio.timeout(5):
        for name in ("sale", "delivery", "sale"):
            await pg.execute(demo._sql(name))
    await opened.commit()
    assert (await summary(pg))["sales_today"] == 3


async def test_the_day_turns_at_midnight_of_the_database_s_time_zone(database: Any) -> None:
    pg = await database.connect()
    await pg.execute("set timezone = 'Pacific/Kiritimati'")
    await demo.create(pg)
    await pg.execute("set timezone = 'UTC'")
    midnight = "date_trunc('day', now(), 'Pacific/Kiritimati')"
    for at in ("- interval '1 second'", "", "+ interval '1 second'"):
        await pg.execute(
            f"insert into ventas (tienda_id, producto_id, cantidad, total, creada) values (1, 1, 1, 2, {midnight} {at})"
        )
    told = await summary(pg)
    assert (told["sales_today"], told["revenue_today"]) == (2, "4.00")
    assert await pg.fetchval("select every from notifiws.live_queries") is not None


async def test_a_former_release_s_demo_is_brought_up_to_date(database: Any) -> None:
    pg = await database.connect()
    async with pg.transaction():
        for sql in (demo._sql("inventory"), FORMER, demo._sql("watch")):
            await pg.execute(sql)
    await pg.execute(demo._sql("sale"))
    other = await database.connect()
    async with other.transaction():
        await other.execute(demo._sql("sale"))
        await prepare(database.url, demo=True)  # does not wait for them
        assert await pg.fetchval(demo._sql("is_ours"))
        assert await pg.fetchval(demo._sql("former"))
    await prepare(database.url, demo=True)
    assert not await pg.fetchval(demo._sql("former"))
    assert await pg.fetchval(demo._sql("is_ours"))
    await pg.execute(demo._sql("sale"))
    assert (await summary(pg))["sales_today"] == 3
    assert await pg.fetchval("select count(*) from notifiws.outbox where channel = 'summary'") == 2, "what it was like"
    await prepare(database.url, demo=True)
    assert len(await pg.fetch("select from notifiws.live_queries")) == 1


async def test_the_generator_sells_and_survives_a_lost_connection(database: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(demo, "RATE", 100.0)
    pg = await database.connect()
    await demo.create(pg)
    selling = asyncio.create_task(demo.sell(database.url))

    async def more_than(number: int) -> int:
        async with asyncio.timeout(20):
            while (sold := await pg.fetchval("select count(*) from ventas")) <= number:
                await asyncio.sleep(0.02)
        return int(sold)

    sold = await more_than(3)
    await pg.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'notifiws demo'")
    await more_than(sold + 3)
    selling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await selling


async def test_a_database_that_is_away(database: Any) -> None:
    with pytest.raises(DatabaseAway, match="does not answer"):
        await prepare(f"postgresql://nobody:nothing@127.0.0.1:{free_port()}/none", demo=False)
    with pytest.raises(DatabaseAway, match="password"):
        await prepare(database.url.replace("notifiws_owner:", "notifiws_owner:x"), demo=False)
