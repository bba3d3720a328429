"""The majors of Postgres that are supported: the embedded 18 and 16, and Debian's 15 where it is.

Tests of the database run on all three (`tests/integration/db/conftest.py`), the others on 18; listener and whole stack
are tried on each (`test_majors.py`). `NOTIFIWS_STRICT=1` makes a missing 15 a failure.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from notifiws.stack.postgres import OWNER, PostgresServer

MAJORS = (18, 16, 15)
DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")


class DebianServer(PostgresServer):
    """Debian's own binaries, driven like the wheel's."""

    @property
    def _bin(self) -> Path:
        return DEBIAN_15

    def bootstrap(self) -> None:
        """Nothing: the product's bootstrap grants a role that came with 16. `make_owner` does what is needed."""


def server_of(major: int, home: Path, **options: Any) -> PostgresServer:
    """One that is not started yet. Skips the test when the machine has none."""
    if major == 15 and not DEBIAN_15.is_dir():
        pytest.skip("Debian's PostgreSQL 15 is not installed (make system-deps)")
    kind = DebianServer if major == 15 else PostgresServer
    return kind(home, major=major, fsync=False, **options)


async def make_owner(server: PostgresServer, database: str) -> None:
    """The role that `migrate` asks for, with no right beyond, and a database of its own."""
    admin = await asyncpg.connect(server.url_of("postgres", superuser=True))
    if not await admin.fetchval("select true from pg_roles where rolname = $1", OWNER):
        await admin.execute(f"create role {OWNER} login createrole password '{server.owner_password}'")
    await admin.execute(f"create database {database} owner {OWNER}")
    await admin.close()


@contextmanager
def started(server: PostgresServer) -> Iterator[PostgresServer]:
    """It runs meanwhile."""
    server.start()
    try:
        yield server
    finally:
        server.stop()
