"""A log that outgrows its bounds under a real listener: cut short, said everywhere, and nobody fails."""

import asyncio

import asyncpg
import pytest

from listener_service import disk
from listener_service.metrics import Metrics
from listener_service.retention import Retention
from listener_service.session import open_session
from notifiws.stack.valkey import ValkeyServer
from shared.readiness import Readiness
from tests.conftest import Database
from tests.integration.listener.conftest import NewListener, Streams, eventually

MB = 1_000_000


async def test_bytes_are_bounded_while_writers_write(
    pg: asyncpg.Connection, database: Database, new_listener: NewListener, streams: Streams
) -> None:
    """24 MB through a log of 6: every event is published, and the log ends within its bound."""
    subject = new_listener(NOTIFIWS_LOG_BYTES="6MB", NOTIFIWS_HISTORY_BYTES="1GB").start()
    await subject.until(ready=True, role="leader")
    count = 0

    async def write(first: int) -> None:
        nonlocal count
        writer = await database.connect()
        for number in range(first, first + 150):
            await writer.execute(
                "insert into ventas select $1, 0, string_agg(md5(random()::text), '') from generate_series(1, 1250)",
                number,
            )
            count += 1
            await asyncio.sleep(0.02)

    await asyncio.gather(*(write(first) for first in (1, 1001, 2001, 3001)))
    assert count == 600

    async def within() -> bool:
        # The last tick always stays: with a small one after it the large ones may go.
        nonlocal count
        count += 1
        await pg.execute("insert into ventas values ($1, 0, '')", 10_000 + count)
        return bool(await pg.fetchval("select notifiws.log_bytes()") <= 6 * MB)

    await eventually(within, 20)

    async def published() -> bool:
        return len(await streams.ids("ventas")) == count

    await eventually(published)
    assert await pg.fetchval("select horizon from notifiws.meta") > 0
    found = await subject.readyz()
    assert found["ready"]
    [warning] = found["warnings"]
    assert warning["code"] == "log_large"
    for word in ("NOTIFIWS_LOG_BYTES allows 6.0 MB", "MB"):
        assert word in warning["message"]
    assert "the log had" in subject.log.read_text()
    assert await subject.metric("retention_shortened_total") >= 1
    assert await subject.metric("log_bytes") > 0


async def test_what_waits_for_redis_is_kept_and_said(
    pg: asyncpg.Connection, new_listener: NewListener, streams: Streams, valkey: ValkeyServer
) -> None:
    subject = new_listener(NOTIFIWS_LOG_BYTES="1MB").start()
    await subject.until(ready=True, role="leader")
    try:
        valkey.command("CONFIG", "SET", "maxmemory", "1")
        for number in range(1, 4):
            await pg.execute(
                "insert into ventas select $1, 0, string_agg(md5(random()::text), '') from generate_series(1, 30000)",
                number,
            )

        async def said() -> bool:
            warnings = (await subject.readyz()).get("warnings", [])
            return any("wait to be published" in warning["message"] for warning in warnings)

        await eventually(said, 20)
    finally:
        valkey.command("CONFIG", "SET", "maxmemory", "0")
    await streams.until_exact(pg, "ventas")


async def test_the_disk_is_seen_where_it_is_this_machine_s(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded server's owner may see where it lies; another server's folder is not taken for its own."""
    async with open_session(database.url, "notifiws retention") as session:
        [row] = await session.rows("data_directory")
        found = disk.find(row["folder"], row["port"], row["started"])
        assert found is not None and 0 < found.free <= found.total
        assert disk.find(row["folder"], row["port"] + 1, row["started"]) is None
        assert disk.find(row["folder"], row["port"], row["started"] - 1000) is None
        assert disk.find("/nowhere", row["port"], row["started"]) is None
        assert disk.find(None, row["port"], row["started"]) is None
        retention = Retention(database.url, 86400.0, 0, Readiness(), Metrics())
        monkeypatch.setattr(disk, "find", lambda *_: disk.Disk(free=30 * MB, total=1000 * MB))
        most, why = await retention._bound(session, 100 * MB)
        assert (most, "30.0 MB left" in why) == (80 * MB, True)
        retention.most_bytes = 70 * MB
        assert (await retention._bound(session, 100 * MB))[0] == 70 * MB


@pytest.mark.parametrize(
    ("free", "total", "log", "room"),
    [
        (500 * MB, 1000 * MB, 10 * MB, 460 * MB),  # plenty: what is free but for 5 %
        (100_000 * MB, 1_000_000 * MB, 10 * MB, 99_010 * MB),  # 1 GB of a large disk stays free
        (40 * MB, 1000 * MB, 200 * MB, 190 * MB),  # less than the reserve is left: the log gives it back
        (0, 1000 * MB, 200 * MB, 150 * MB),
        (40 * MB, 1000 * MB, 5 * MB, 20 * MB),  # a small log is not to blame
        (0, 1000 * MB, 5 * MB, 0),
    ],
)
def test_room(free: int, total: int, log: int, room: int) -> None:
    assert disk.Disk(free, total).room(log) == room
