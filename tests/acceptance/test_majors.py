"""`notifiws up` on a database of one's own, on the other majors of Postgres; its owner has CREATEROLE, no more."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from notifiws.stack.postgres import PostgresServer
from tests.client import Client
from tests.majors import MAJORS, make_owner, server_of, started
from tests.stack import Stack


@pytest.fixture(params=MAJORS[1:], ids=lambda major: f"pg{major}")
def server(request: pytest.FixtureRequest, server_folder: Path) -> Iterator[PostgresServer]:
    """Of each major that the embedded stack is not."""
    with started(server_of(request.param, server_folder / f"own{request.param}")) as server:
        asyncio.run(make_owner(server, "app"))
        yield server


def test_a_database_of_ones_own(server: PostgresServer, tmp_path: Path) -> None:
    url = server.url_of("app")
    with Stack(tmp_path, nodes=1, DATABASE_URL=url, NOTIFIWS_EMIT_BYTES="20") as stack:
        asyncio.run(_use(stack, url))
        assert stack.run("migrate", "--check").stdout.endswith("nothing to do\n")
        refused = stack.run("emit", "orders", '"more than twenty bytes"', code=2)
        assert "emit takes 20 at most" in refused.stderr


async def _use(stack: Stack, url: str) -> None:
    pg = await asyncpg.connect(url)
    await pg.execute("create table pedidos (id int primary key, cliente text)")
    await pg.execute("select notifiws.watch('pedidos', 'orders')")
    async with Client(stack.ws_url(), "orders") as client:
        await pg.execute("insert into pedidos select g, 'Ñ' from generate_series(1, 100) g")
        await client.received(100)
        client.drop()
        await pg.execute("update pedidos set cliente = 'Ana' where id <= 50")
        await pg.execute("delete from pedidos where id > 90")
        await pg.execute("select notifiws.emit('orders', '{\"n\": 1}')")
        await client.received(161)
        assert [event["op"] for event in client.events[100:]] == ["update"] * 50 + ["delete"] * 10 + ["emit"]
        assert client.events[0]["new"] == {"id": 1, "cliente": "Ñ"}
    await pg.close()
