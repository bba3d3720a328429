"""The demo inventory: created once, true sums, live alerts, and nobody waits for an open transaction."""

import asyncio
import json
from typing import Any

import pytest

from notifiws.stack import demo
from notifiws.stack.database import DatabaseAway, prepare
from notifiws.stack.ports import free_port


async def summary(pg: Any) -> dict[str, Any]:
    """The newest event of the summary channel, as committed."""
    newest = await pg.fetchval("select payload from notifiws.outbox where channel = 'summary' order by id desc limit 1")
    found: dict[str, Any] = json.loads(newest)
    return found


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
        demo._sql("compact"),
        demo._sql("sale"),
        "truncate ventas",
        "insert into ventas (tienda_id, producto_id, cantidad, total) values (2, 2, 1, 1.5)",
    ):
        await pg.execute(statement)
        told = await summary(pg)
        assert (told["sales_today"], told["revenue_today"]) == await truth(pg), statement
        assert len(told["latest"]) == min(10, await pg.fetchval("select count(*) from ventas"))
    newest = (await summary(pg))["latest"][0]
    assert newest.keys() == {"id", "producto", "tienda", "cantidad", "total", "creada"}
    assert (newest["producto"], newest["tienda"], newest["total"]) == ("Arroz bomba 1 kg", "Gràcia", "1.50")


async def test_low_stock_appears_and_vanishes(database: Any) -> None:
    pg = await database.connect()
    await demo.create(pg)
    assert (await pg.fetchval("select resumen()->'low_stock'")) == "[]"
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
        for name in ("sale", "delivery", "compact", "sale"):
            await pg.execute(demo._sql(name))
    await opened.commit()
    assert await pg.fetchval("select (resumen()->>'sales_today')::int") == 3


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
