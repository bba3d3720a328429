"""The log across the end of 32-bit transaction ids, on a server of its own whose counter is set to just before it."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from db.migrate import migrate
from notifiws.stack.postgres import PostgresServer
from tests.conftest import Database
from tests.integration.db.log import Log

# 40 transactions before 2^32; its first ids are special.
BEFORE = 2**32 - 40
PER_SEGMENT = 32 * 8192 * 4


@pytest.fixture
def server(server_folder: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(server_folder / "wraparound", fsync=False)
    server.start()
    yield server
    server.stop()


def set_counter(server: PostgresServer, xid: int) -> None:
    """The next transaction id of the stopped server, with a page of its commit log for it, as pg_resetwal wants."""

    def run(*argv: str) -> None:
        words = list(argv)
        done = subprocess.run(
            server.account.command(words) if server.account else words,
            capture_output=True, text=True, check=False, cwd="/",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    segment = server.data / "pg_xact" / f"{xid // PER_SEGMENT:04X}"
    run("dd", "if=/dev/zero", f"of={segment}", "bs=8192", "count=32")
    run(str(server._bin / "pg_resetwal"), "-e", "0", "-x", str(xid), "-u", str(xid - 1000), "-D", str(server.data))


async def test_ticks_and_order_go_on_across_2_to_the_32(server: PostgresServer) -> None:
    if not (server._bin / "pg_resetwal").exists():
        pytest.skip("this server has no pg_resetwal")
    pg = await asyncpg.connect(server.url)
    await migrate(pg)
    await pg.execute("create table t (id int primary key, v int); select notifiws.watch('t', 'a')")
    await pg.execute("insert into t values (0, 0)")
    await pg.fetch("select * from notifiws.cut(1000, 1000000)")
    await pg.close()
    for name in ("postgres", "template1", "notifiws"):
        admin = await asyncpg.connect(server.url_of(name, superuser=True))
        await admin.execute("vacuum freeze")
        await admin.close()
    server.stop()
    set_counter(server, BEFORE)
    server.start()

    database = Database(server, "notifiws")
    log = Log(database, await database.connect())
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        assert (await log.query("meta"))[0]["broken"] is None
        long = await log.session()
        await long.execute("begin; insert into t values (1000000, 0)")
        seen: list[int] = []
        for number in range(1, 101):
            await log.pg.execute(
                f"begin; insert into t values ({number}, 0); update t set v = {number} where id = 0; commit"
            )
            if number % 3 == 0:
                seen += [row["id"] for row in await log.cut()]
        await long.execute("commit")
        rows = await log.cut()
        assert any('"id":1000000' in (row["new"] or "") for row in rows)
        seen += [row["id"] for row in rows]
        every = [
            row[0]
            for row in await log.pg.fetch("select id from notifiws.outbox where tx >= $1::text::xid8", str(BEFORE))
        ]
        assert sorted(seen) == sorted(every) and len(set(seen)) == 201
        last = await log.pg.fetchval("select max(tx::text::bigint) from notifiws.outbox")
        assert last > 2**32
        # Each tick replays as it was cut, those that span the end too.
        replayed = []
        for tick in await log.query("ticks_after", 1, 1000):
            rows = await log.query("tick_rows_wide", tick["s1"], tick["s2"], 0, 10**9)
            replayed += [row["id"] for row in rows]
        assert replayed == seen
        assert await log.pg.fetchval("select notifiws.rotate('24 hours')") == []
