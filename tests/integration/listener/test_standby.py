"""A listener pointed at a physical standby says so and waits; promoted, the standby is led."""

from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.conftest import Database
from tests.integration.listener.conftest import NewListener, Streams
from tests.integration.listener.standby import Standby


@pytest.fixture
def standby(database: Database, server_folder: Path) -> Iterator[Standby]:
    """Made after `database`."""
    server = Standby(database.server, server_folder / "standby").follow()
    yield server
    server.stop()


async def test_it_says_so_waits_and_leads_once_promoted(
    pg: asyncpg.Connection, database: Database, standby: Standby, new_listener: NewListener, streams: Streams
) -> None:
    subject = new_listener(database_url=standby.url_of(database.name)).start()
    assert "standby" in await subject.until_reason("postgres")
    assert "standby" in await subject.until_reason("deaf")
    found = await subject.until(role="standby", ready=False)
    assert all(
        "DATABASE_URL at the primary" in reason["message"] for reason in found["reasons"] if reason["code"] == "deaf"
    )
    admin = await asyncpg.connect(standby.url_of(database.name, superuser=True))
    await admin.fetchval("select pg_promote()")
    await subject.until(seconds=15, ready=True, role="leader")
    await admin.execute("insert into ventas values (1, 0, '')")
    await streams.until_exact(admin, "ventas")
    await admin.close()
