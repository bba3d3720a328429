"""The listener on the other majors of Postgres: watched, emitted and adopted events, through a kill, exactly once."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from db.migrate import migrate
from notifiws.stack.postgres import PostgresServer
from tests.conftest import Database
from tests.integration.listener.conftest import DDL, NewListener, Streams, eventually
from tests.majors import MAJORS, make_owner, server_of, started


@pytest.fixture(params=MAJORS[1:], ids=lambda major: f"pg{major}", scope="module")
def server(request: pytest.FixtureRequest, server_folder: Path) -> Iterator[PostgresServer]:
    """Of each major that the other tests here do not run on."""
    with started(server_of(request.param, server_folder / f"listener{request.param}")) as server:
        asyncio.run(make_owner(server, "fresh"))
        yield server


@pytest.fixture
async def database(server: PostgresServer) -> AsyncIterator[Database]:
    """Migrated by an owner who has CREATEROLE and nothing more."""
    database = Database(server, "fresh")
    await migrate(await database.connect())
    yield database
    await database.close()


async def test_exactly_once(
    server: PostgresServer, pg: asyncpg.Connection, new_listener: NewListener, streams: Streams
) -> None:
    assert await pg.fetchval("select current_setting('server_version_num')::int / 10000") == server.major
    await pg.execute(DDL.format("stock"))
    await pg.execute("select notifiws.adopt('legacy', 'adopted')")
    first = new_listener().start()
    await first.until(ready=True, role="leader")

    async def write(numbers: range) -> None:
        for number in numbers:
            await pg.execute("insert into ventas values ($1, 0, 'ñ')", number)
            await pg.execute("update ventas set n = n + 1, t = null where id = $1", number)
            await pg.execute("insert into stock select g, g from generate_series($1::int * 9, $1 * 9 + 8) g", number)
            await pg.execute("select notifiws.emit('emitted', to_jsonb($1::int))", number)

    async def heard() -> bool:
        await pg.execute("select pg_notify('legacy', '{\"a\": 1}')")
        return bool(await pg.fetchval("select count(*) from notifiws.outbox where channel = 'adopted'"))

    await write(range(40))
    await eventually(heard)
    first.kill()
    await write(range(40, 60))
    second = new_listener().start()
    await second.until(ready=True, role="leader")
    await pg.execute("delete from ventas where id < 10; truncate stock")
    await streams.until_exact(pg, "ventas", "stock", "emitted", "adopted")
    assert len(await streams.ids("ventas")) == 130
    assert len(await streams.ids("emitted")) == 60
