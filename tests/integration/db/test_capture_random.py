"""Random statements, savepoints, rollbacks, key changes, cascades: the events, applied from empty, are the tables."""

import random

import asyncpg
import pytest

from tests.integration.db.log import Log, Replica

TABLES = """
create table tiendas (id int primary key);
create table ventas (tienda int references tiendas on update cascade on delete cascade, n int, total numeric,
                     otra int references tiendas on update cascade, nota jsonb, primary key (n, tienda));
select notifiws.watch('ventas', 'ventas'), notifiws.watch('tiendas', 'tiendas');
"""


def statement(chance: random.Random) -> str:
    n, m, shop = chance.randrange(12), chance.randrange(1, 12), chance.randrange(6)
    return chance.choice([
        *[f"insert into ventas select {shop}, x, 1, {shop} from generate_series({n + 12}, {n + 20}) x"] * 4,
        f"insert into tiendas select x from generate_series({shop}, {shop + 2}) x on conflict do nothing",
        f"insert into ventas select {shop}, x, x, null from generate_series({n}, {n + m}) x"
        " on conflict (n, tienda) do update set total = ventas.total + 1.50",
        f"insert into ventas (tienda, n, otra) values ({shop}, {n}, {chance.randrange(6)})",
        f"update ventas set total = coalesce(total, 0) * 1.10 where n >= {n}",
        f"update ventas set n = n + {m} where n > {n}",
        f"update ventas set n = -n where n % {m} = 0",
        f"update ventas set nota = jsonb_build_object('n', n, 'x', {m}), otra = tienda where tienda = {shop}",
        f"update tiendas set id = id + {chance.choice((-7, 1, 7))} where id >= {shop}",
        f"delete from tiendas where id = {shop}",
        f"delete from ventas where n < {n}",
        f"with gone as (delete from ventas where n = {n} returning *)"
        " insert into ventas select tienda, n, 0 from gone",
        f"merge into ventas v using (select x from generate_series({n}, {n + m}) x) s"
        f" on v.n = s.x and v.tienda = {shop}"
        " when matched and v.total > 5 then delete when matched then update set total = 7, n = v.n + 40"
        " when not matched then insert (tienda, n) values (" + str(shop) + ", s.x)",
        "truncate ventas" if chance.random() < 0.2 else "select 1",
    ])  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
async def test_the_events_are_the_tables(log: Log, seed: int) -> None:
    chance = random.Random(seed)
    await log.pg.execute(TABLES)
    writer, replicas, events = await log.session(), {"ventas": Replica(), "tiendas": Replica()}, 0
    await writer.execute("insert into tiendas select x from generate_series(-10, 20) x")
    for _ in range(40):
        await writer.execute("begin")
        for _ in range(chance.randrange(1, 6)):
            await writer.execute("savepoint s")
            try:
                await writer.execute(statement(chance))
            except (asyncpg.IntegrityConstraintViolationError, asyncpg.CardinalityViolationError):
                await writer.execute("rollback to s")
            if chance.random() < 0.15:
                await writer.execute("rollback to s")
        await writer.execute("rollback" if chance.random() < 0.15 else "commit")
        for row in await log.cut():
            events += 1
            replicas[row["channel"]].apply(row)
    assert events > 200
    for name, replica in replicas.items():
        await replica.check(log, name)
