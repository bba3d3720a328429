"""A listener pointed at a physical standby says so and waits; promoted, the standby is led."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from notifiws.stack.postgres import PostgresServer
from notifiws.stack.private import give_folder
from tests.conftest import Database
from tests.integration.listener.conftest import NewListener, Streams


class Standby(PostgresServer):
    """A physical replica of another server."""

    def follow(self, primary: PostgresServer) -> "Standby":
        self._claim_home()
        give_folder(self.data, self.account)
        argv = [str(self._bin / "pg_basebackup"), "-D", str(self.data), "-R", "-X", "stream", "-c", "fast", "--no-sync"]
        argv += ["-d", primary.url_of("postgres", superuser=True).replace("/postgres", "/")]
        done = subprocess.run(
            self.account.command(argv) if self.account else argv,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=self._environment(),
        )
        assert done.returncode == 0, done.stderr
        self.start()
        return self

    def bootstrap(self) -> None:
        """Nothing: it is the primary's copy."""

    def accepting(self) -> bool:
        """Also while it follows."""
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()[7].strip() in ("ready", "standby")
        except (OSError, IndexError):
            return False


@pytest.fixture
def standby(database: Database, server_folder: Path) -> Iterator[Standby]:
    """Made after `database`."""
    primary = database.server
    server = Standby(
        server_folder / "standby",
        fsync=False,
        superuser_password=primary.superuser_password,
        owner_password=primary.owner_password,
        options={"hot_standby": "on"},
    )
    server.follow(primary)
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
