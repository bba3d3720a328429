"""Fixtures that every test may use: embedded servers, fresh databases, a scrubbed environment.

The servers are the product's own (`notifiws.stack`), with fsync off; each xdist worker has its own. The kernel ends
them with pytest, however it dies.
"""

import asyncio
import contextlib
import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from notifiws.stack.postgres import OWNER, PostgresServer
from notifiws.stack.valkey import ValkeyServer

STRICT = os.environ.get("NOTIFIWS_STRICT") == "1"
_TEMPLATE = "notifiws_template"


def pytest_configure(config: pytest.Config) -> None:
    """No test may reach the machine's own services, or read the developer's settings."""
    for name in list(os.environ):
        if name in ("DATABASE_URL", "REDIS_URL") or name.startswith(("NOTIFIWS_", "PG")):
            del os.environ[name]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Under NOTIFIWS_STRICT=1 a skipped test is a failed one: a missing tool must not hide what was not tried."""
    outcome: Any = yield
    report = outcome.get_result()
    if STRICT and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"NOTIFIWS_STRICT=1 allows no skip: {reason}"


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """The same for whole modules that skip themselves."""
    outcome: Any = yield
    report = outcome.get_result()
    if STRICT and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"NOTIFIWS_STRICT=1 allows no skip: {report.longrepr}"


@pytest.fixture(autouse=True)
def _no_dotenv(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings read `.env` in the working directory: tests work in an empty one."""
    monkeypatch.chdir(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A short-lived folder for embedded servers, open to the account they run under when we are root."""
    folder = Path(tempfile.mkdtemp(prefix="notifiws-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(server_folder: Path) -> Iterator[PostgresServer]:
    """A running Postgres for the session. A test that kills it must `start()` it again."""
    server = PostgresServer(server_folder / "postgres", fsync=False)
    server.start()
    yield server
    server.stop()


@dataclass
class Database:
    """A database of its own for one test."""

    server: PostgresServer
    name: str
    connections: list[asyncpg.Connection] = field(default_factory=list)

    @property
    def url(self) -> str:
        """As its owner, who is no superuser."""
        return self.server.url_of(self.name)

    @property
    def superuser_url(self) -> str:
        """As the server's superuser."""
        return self.server.url_of(self.name, superuser=True)

    async def connect(self, *, superuser: bool = False, **options: Any) -> asyncpg.Connection:
        """A connection that is closed after the test. `options` are asyncpg's."""
        connection = await asyncpg.connect(self.superuser_url if superuser else self.url, **options)
        self.connections.append(connection)
        return connection

    async def close(self) -> None:
        """Close every connection that `connect` gave out."""
        for connection in self.connections:
            connection.terminate()
        self.connections.clear()


_numbers = itertools.count(1)


async def _admin(server: PostgresServer, statement: str) -> None:
    connection = await asyncpg.connect(server.url_of("postgres", superuser=True))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def _new_database(server: PostgresServer, template: str) -> AsyncIterator[Database]:
    database = Database(server, f"t{next(_numbers)}")
    await _admin(server, f"CREATE DATABASE {database.name} OWNER {OWNER} TEMPLATE {template} STRATEGY file_copy")
    try:
        yield database
    finally:
        await database.close()
        if server.pid is not None:
            await _admin(server, f"DROP DATABASE {database.name} WITH (FORCE)")


@pytest.fixture(scope="session")
def _template(postgres_server: PostgresServer) -> str:
    """The name of a database that `notifiws migrate` has been run in, once for the session."""

    async def build() -> None:
        from db.migrate import migrate

        await _admin(postgres_server, f"CREATE DATABASE {_TEMPLATE} OWNER {OWNER}")
        connection = await asyncpg.connect(postgres_server.url_of(_TEMPLATE))
        try:
            await migrate(connection)
        finally:
            await connection.close()

    asyncio.run(build())
    return _TEMPLATE


@pytest.fixture
async def database(postgres_server: PostgresServer, _template: str) -> AsyncIterator[Database]:
    """A fresh, migrated database."""
    async with _new_database(postgres_server, _template) as fresh:
        yield fresh


@pytest.fixture
async def empty_database(postgres_server: PostgresServer) -> AsyncIterator[Database]:
    """A fresh database that was never migrated."""
    async with _new_database(postgres_server, "template0") as fresh:
        yield fresh


@pytest.fixture(scope="session")
def _valkey_server(server_folder: Path) -> Iterator[ValkeyServer]:
    server = ValkeyServer(server_folder / "valkey")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def valkey(_valkey_server: ValkeyServer) -> ValkeyServer:
    """A running, empty Valkey. A test may `kill()` it, `wipe()` its data and `start()` it again, on the same port."""
    if not _valkey_server.accepting():
        _valkey_server.start()
    _valkey_server.command("FLUSHALL")
    return _valkey_server
