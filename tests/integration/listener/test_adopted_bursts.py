"""Adopted NOTIFY channels under bursts and failures: what is at most once, and what nothing takes away."""

import json
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from notifiws.stack.valkey import ValkeyServer
from tests.conftest import Database
from tests.integration.listener.conftest import ListenerProcess, Streams, eventually
from tests.integration.listener.test_adopted import adopted

BURST = """
select pg_notify($1, lpad(g::text, $4, '0')) from generate_series($2::int, $2 + $3 - 1) g
"""


async def logged(pg: asyncpg.Connection) -> list[str]:
    """Payloads in the log, in its order, but for those that looked whether somebody listens."""
    rows = await pg.fetch(
        "select payload from notifiws.outbox where channel = 'sales' and payload <> 'ping' order by id"
    )
    return [row["payload"] for row in rows]


def count(pg: asyncpg.Connection, at_least: int) -> Callable[[], Awaitable[bool]]:
    async def enough() -> bool:
        found = await pg.fetchval("select count(*) from notifiws.outbox where channel = 'sales' and payload <> 'ping'")
        return bool(found >= at_least)

    return enough


async def heard_again(pg: asyncpg.Connection) -> None:
    """The listener listens now, whatever it has heard before."""
    pings = "select count(*) from notifiws.outbox where payload = 'ping'"
    before = await pg.fetchval(pings)

    async def heard() -> bool:
        await pg.execute("select pg_notify('legacy', 'ping')")
        return bool(await pg.fetchval(pings) > before)

    await eventually(heard)


# The second burst is 71 MB, more than the queue holds: what it has no room for waits in Postgres.
@pytest.mark.parametrize(("each", "size"), [(10_000, 120), (1_800, 7_900)])
async def test_a_burst_arrives_whole_and_in_order_in_bounded_memory(
    pg: asyncpg.Connection, listener: ListenerProcess, streams: Streams, valkey: ValkeyServer, each: int, size: int
) -> None:
    await adopted(pg, listener, valkey, "legacy")
    before = listener.rss
    for part in range(5):  # in a few transactions
        await pg.execute(BURST, "legacy", part * each, each, size)
    await eventually(count(pg, 5 * each), 60, listener.tail)
    grown = listener.rss - before
    assert await logged(pg) == [str(number).zfill(size) for number in range(5 * each)]
    assert await listener.metric("adopted_dropped_total", reason="full") == 0
    assert await listener.metric("reconnects_total", connection="adopted") == 0
    assert grown < 150_000_000
    if size < 1000:
        await streams.until_exact(pg, "sales")


async def test_the_log_takes_them_while_redis_is_away(
    pg: asyncpg.Connection, listener: ListenerProcess, streams: Streams, valkey: ValkeyServer
) -> None:
    await adopted(pg, listener, valkey, "legacy")
    valkey.kill()
    await listener.until_reason("redis")
    await pg.execute(BURST, "legacy", 0, 2_000, 100)
    await eventually(count(pg, 2_000), 15, listener.tail)
    valkey.start()
    await listener.until(ready=True)


async def test_a_lost_connection_is_made_anew_and_what_is_sent_afterwards_comes_once(
    pg: asyncpg.Connection, listener: ListenerProcess, database: Database, valkey: ValkeyServer
) -> None:
    await adopted(pg, listener, valkey, "legacy")
    admin = await database.connect(superuser=True)
    for number in range(3):
        ended = await admin.fetchval(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'notifiws adopted'"
        )
        assert ended == 1
        await eventually(lambda number=number: _reconnected(listener, number + 1), 10, listener.tail)
        await heard_again(pg)
        await pg.execute(BURST, "legacy", number * 100, 100, 10)
        await eventually(count(pg, 100 * (number + 1)), 15)
    assert await logged(pg) == [str(number).zfill(10) for number in range(300)]
    # The doorbell has a connection of its own.
    assert await listener.metric("reconnects_total", connection="doorbell") == 0
    await listener.until(ready=True)


async def _reconnected(listener: ListenerProcess, times: int) -> bool:
    if await listener.metric("reconnects_total", connection="adopted") < times:
        return False
    return bool((await listener.readyz())["ready"])


async def test_postgres_restarts_under_them(
    pg: asyncpg.Connection, listener: ListenerProcess, database: Database, valkey: ValkeyServer
) -> None:
    """At most once: what was in the NOTIFY queue is gone, nothing comes twice, and afterwards all goes on."""
    await adopted(pg, listener, valkey, "legacy")
    server = database.server
    await pg.execute(BURST, "legacy", 0, 100, 10)
    server.stop()  # by the main thread: a server ends with the thread that started it
    server.start()
    await listener.until(ready=True, role="leader", seconds=30)
    again = await database.connect()
    await heard_again(again)
    await again.execute(BURST, "legacy", 100, 100, 10)
    await eventually(lambda: _last_is(again, "0000000199"), 15, listener.tail)
    found = await logged(again)
    assert found[-100:] == [str(number).zfill(10) for number in range(100, 200)]
    assert found[:-100] == [str(number).zfill(10) for number in range(100)][: len(found) - 100]


async def _last_is(pg: asyncpg.Connection, payload: str) -> bool:
    return (await logged(pg))[-1:] == [payload]


async def test_unadopting_leaves_nothing(
    pg: asyncpg.Connection, listener: ListenerProcess, streams: Streams, valkey: ValkeyServer
) -> None:
    await adopted(pg, listener, valkey, "legacy", "other")
    await pg.execute("select notifiws.unadopt('legacy'), notifiws.unadopt('other')")

    async def gone() -> bool:
        sessions = await pg.fetchval(
            "select count(*) from pg_stat_activity where application_name = 'notifiws adopted' "
            "and datname = current_database()"
        )
        return sessions == 0 and json.loads(await streams.redis.get("notifiws:channels") or "[]") == ["ventas"]

    await eventually(gone, 5, listener.tail)
    before = await pg.fetchval("select count(*) from notifiws.outbox")
    await pg.execute("select pg_notify('legacy', 'to nobody')")
    await pg.execute("select notifiws.adopt('other', 'sales')")

    async def heard() -> bool:
        await pg.execute("select pg_notify('other', 'heard')")
        return bool(await pg.fetchval("select count(*) from notifiws.outbox") > before)

    await eventually(heard)
    assert await pg.fetchval("select count(*) from notifiws.outbox where payload = 'to nobody'") == 0
    assert await pg.fetchval("select count(*) from notifiws.adopted") == 1
