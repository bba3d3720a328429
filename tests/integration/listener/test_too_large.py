"""Events that Redis can never take: left out, named, told to clients, and nothing else waits for them."""

import asyncio

import asyncpg
import pytest

from notifiws.stack.valkey import ValkeyServer
from tests.client import Client
from tests.integration.listener.conftest import DDL, Ear, ListenerProcess, NewListener, Streams, eventually
from tests.nodes import running_node


async def left_out(subject: ListenerProcess, by: str) -> float:
    return await subject.metric("left_out_total", too_large_for=by)


async def test_above_the_bound(
    pg: asyncpg.Connection, new_listener: NewListener, streams: Streams, valkey: ValkeyServer
) -> None:
    """Clients that are connected are reset at once, those that come back get `expired`, other channels nothing."""
    await pg.execute(DDL.format("stock"))
    subject = new_listener(NOTIFIWS_MAX_EVENT_BYTES="20000").start()
    await subject.until(ready=True, role="leader")
    async with running_node(valkey.url) as node:
        async with Client(node.ws, "ventas") as sales, Client(node.ws, "stock") as stock:
            await pg.execute("insert into ventas values (1, 0, ''); insert into stock values (1, 0, '')")
            await sales.received(1)
            await stock.received(1)
            before = sales.position
            await pg.execute("insert into ventas values (2, 0, repeat('x', 50000))")
            await sales.wait(lambda: sales.resets)  # with nothing published after it
            [reset] = sales.resets
            assert reset["reason"] == "expired"
            assert sales.position == reset["position"] != before
            # In one transaction, so in one tick: each event on its side of the hole.
            await pg.execute(
                "insert into ventas select g, 0, case g when 4 then repeat('y', 30000) else '' end"
                " from generate_series(3, 5) g; insert into stock values (2, 0, '')"
            )
            await sales.wait(lambda: len(sales.resets) == 2)
            await stock.received(2)
            await pg.execute("insert into ventas values (6, 0, '')")
            await sales.wait(lambda: sales.events[-1]["key"] == {"id": 6})
            assert {event["key"]["id"] for event in sales.events} - {3, 5} == {1, 6}
            assert not sales.faults and not stock.faults and not stock.resets
        # What is kept without a hole begins behind the last one.
        for past, recovered in (
            ({"since": before}, False),
            ({"since": reset["position"]}, True),  # and a reset at the next hole
            ({"since": sales.resets[1]["position"]}, True),
            ({"rewind": 10}, False),
        ):
            async with node.v1() as back:
                answer = await back.ask(type="subscribe", id=1, channel="ventas", **past)
                assert answer["recovered"] is recovered, past
                assert recovered or answer["reason"] == "expired"
        async with node.v1() as back:
            await back.ask(type="subscribe", id=1, channel="ventas", rewind=10)
            assert [event["key"] for event in (await back.frame())["events"]] == [{"id": 5}]
        page = (await node.get("/channels/ventas/events", params={"since": before})).json()
        assert page["error"]["code"] == "expired"
        page = (await node.get("/channels/ventas/events")).json()
        assert [event["key"]["id"] for event in page["events"]] == [1]
        page = (await node.get("/channels/ventas/events", params={"since": page["position"]})).json()
        assert page["error"]["code"] == "expired"
    assert await left_out(subject, "bound") == 2
    line = next(line for line in subject.log.read_text().splitlines() if "left out" in line)
    for word in ("ventas", "public.ventas", '{"id":2}', "50", "NOTIFIWS_MAX_EVENT_BYTES"):
        assert word in line, line
    assert await pg.fetchval("select count(*) from notifiws.outbox where bytes > 20000") == 2, "capture stays as it is"


async def test_a_takeover_in_the_midst_leaves_out_nothing_else(
    pg: asyncpg.Connection, new_listener: NewListener, valkey: ValkeyServer
) -> None:
    """A leader with another bound, and one that replays: each event once, or its break."""
    async with Ear(valkey.url, "ventas") as ear:
        first = new_listener(NOTIFIWS_MAX_EVENT_BYTES="20000").start()
        await first.until(ready=True, role="leader")
        await pg.execute("insert into ventas values (1, 0, repeat('x', 50000))")
        await eventually(lambda: _heard(ear, 1))
        first.kill()
        valkey.command("DEL", "notifiws:published")  # so the last tick is replayed
        second = new_listener(NOTIFIWS_MAX_EVENT_BYTES="1MB").start()
        await second.until(ready=True, role="leader")
        await pg.execute("insert into ventas values (2, 0, repeat('x', 50000))")
        await ear.until(1)
        assert [publication.count for _, publication in ear.heard] == [0, 1]
        assert ear.heard[1][1].prev == ear.heard[0][1].position


async def _heard(ear: Ear, publications: int) -> bool:
    return len(ear.heard) >= publications


@pytest.mark.parametrize(("limit", "value"), [("proto-max-bulk-len", "2mb"), ("maxmemory", "")])
async def test_beyond_what_redis_takes(
    limit: str,
    value: str,
    pg: asyncpg.Connection,
    new_listener: NewListener,
    streams: Streams,
    valkey: ValkeyServer,
) -> None:
    used = int((await streams.redis.info("memory"))["used_memory"])
    subject = new_listener().start(patience=1.0)
    await subject.until(ready=True, role="leader")
    try:
        valkey.command("CONFIG", "SET", limit, value or str(used + 6_000_000))
        async with running_node(valkey.url) as node, Client(node.ws, "ventas") as client:
            await pg.execute("insert into ventas values (1, 0, '')")
            await client.received(1)
            await pg.execute("insert into ventas values (2, 0, repeat('x', 5000000)), (3, 0, '')")
            await client.wait(lambda: client.resets)
            await pg.execute("insert into ventas values (4, 0, '')")
            await client.wait(lambda: client.events[-1]["key"] == {"id": 4})
            assert not client.faults
        assert await left_out(subject, "redis") == 1
        await subject.until(ready=True)
        # What it takes, it gets.
        async with Ear(valkey.url, "ventas") as ear:
            await pg.execute("insert into ventas values (5, 0, repeat('x', 300000))")
            await ear.until(1)
    finally:
        valkey.command("CONFIG", "SET", limit, "512mb" if limit == "proto-max-bulk-len" else "0")


async def test_a_redis_that_is_full_is_waited_for_and_nothing_left_out(
    pg: asyncpg.Connection, new_listener: NewListener, streams: Streams, valkey: ValkeyServer
) -> None:
    subject = new_listener().start(patience=1.0)
    await subject.until(ready=True, role="leader")
    try:
        valkey.command("CONFIG", "SET", "maxmemory", "1")
        await pg.execute("insert into ventas values (1, 0, repeat('x', 3000000))")
        assert "maxmemory" in await subject.until_reason("redis")
        await asyncio.sleep(3)  # longer than it has patience with a publication
    finally:
        valkey.command("CONFIG", "SET", "maxmemory", "0")
    await streams.until_exact(pg, "ventas")
    assert await left_out(subject, "redis") == 0
    await subject.until(ready=True)
