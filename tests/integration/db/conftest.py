"""The database's tests run on every major that is supported: the embedded 18 and 16, and Debian's 15 where it is."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from notifiws.stack.postgres import PostgresServer
from tests.conftest import Database, _new_database
from tests.integration.db.log import Log
from tests.majors import MAJORS, make_owner, server_of

# Two-phase commit and logical decoding are tried here too.
OPTIONS = {"max_prepared_transactions": "10", "wal_level": "logical"}


@pytest.fixture(scope="session")
def servers(server_folder: Path) -> Iterator[Callable[[int], PostgresServer]]:
    """Servers by major, each started when first asked for and migrated once into a template database."""
    running: dict[int, PostgresServer] = {}

    def server(major: int) -> PostgresServer:
        if major not in running:
            running[major] = server_of(major, server_folder / f"db{major}", options=OPTIONS)
            running[major].start()
            asyncio.run(_make_template(running[major]))
        return running[major]

    yield server
    for each in running.values():
        each.stop()


async def _make_template(server: PostgresServer) -> None:
    from db.migrate import migrate

    await make_owner(server, "migrated")
    admin = await asyncpg.connect(server.url_of("postgres", superuser=True))
    await admin.execute("create role writer login password 'writer'")
    await admin.close()
    connection = await asyncpg.connect(server.url_of("migrated"))
    await migrate(connection)
    await connection.close()


@pytest.fixture(params=MAJORS, ids=lambda major: f"pg{major}")
def server(request: pytest.FixtureRequest, servers: Callable[[int], PostgresServer]) -> PostgresServer:
    """A running server of each supported major."""
    return servers(request.param)


@pytest.fixture
async def database(server: PostgresServer) -> AsyncIterator[Database]:
    """A fresh, migrated database on each major."""
    async with _new_database(server, "migrated") as fresh:
        yield fresh


@pytest.fixture
async def blank(server: PostgresServer) -> AsyncIterator[Database]:
    """A fresh database on each major that was never migrated."""
    async with _new_database(server, "template0") as fresh:
        yield fresh


@pytest.fixture
async def log(database: Database) -> Log:
    """The owner's connection, with the log's queries at hand."""
    return Log(database, await database.connect())
