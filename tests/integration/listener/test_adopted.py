"""Plain NOTIFY, relayed: payloads arrive exactly as they were sent, and adoption is in force within a second."""

import json

import asyncpg
import pytest

from notifiws.stack.valkey import ValkeyServer
from tests.integration.listener.conftest import Ear, ListenerProcess, Streams, eventually

PAYLOADS = [
    '{"id": 1, "total": 12.50}',
    '{"id":1,  "spaces" : true}',
    "12345678901234567890.1234567890",
    '"ñandú \\u00f1 \\"quoted\\""',
    "not JSON at all",
    "it's 'quoted' and \"quoted\"",
    "back\\slash \t tab",
    "😀 ñ é",
    "",
    "{broken",
    "null",
    "x" * 7900,
    json.dumps({"long": "ñ" * 3900}, ensure_ascii=False),
]


async def adopted(pg: asyncpg.Connection, listener: ListenerProcess, valkey: ValkeyServer, *names: str) -> None:
    """Adopt and wait until the listener listens."""
    for name in names:
        await pg.execute("select notifiws.adopt($1, $2)", name, "sales")

    async def heard() -> bool:
        await pg.execute("select pg_notify($1, 'ping')", names[-1])
        return await listener.metric("adopted_total") > 0

    await eventually(heard, 3)


@pytest.mark.parametrize("name", ["sales_channel", 'Quoted "Channel" ñ'])
async def test_each_payload_arrives_verbatim(
    name: str, pg: asyncpg.Connection, listener: ListenerProcess, valkey: ValkeyServer
) -> None:
    await adopted(pg, listener, valkey, name)
    async with Ear(valkey.url, "sales") as ear:
        async with pg.transaction():  # NOTIFY drops equal payloads of one transaction: these differ
            for payload in PAYLOADS:
                await pg.execute("select pg_notify($1, $2)", name, payload)
        await pg.execute("select pg_notify($1, 'the end')", name)

        async def ended() -> bool:
            return bool(ear.heard) and list(ear.heard[-1][1].events())[-1].plain("sales") == b"the end"

        await eventually(ended)
        events = [event for _, publication in ear.heard for event in publication.events()]
        plain = [event.plain("sales").decode() for event in events if event.plain("sales") != b"ping"]
        assert plain == [*PAYLOADS, "the end"]
        for event in events:
            document = json.loads(event.standalone("sales"))
            assert document["op"] == "notify"
            assert document.get("json", True) is not event.text


async def test_a_rolled_back_notify_never_appears_and_order_holds(
    pg: asyncpg.Connection, listener: ListenerProcess, streams: Streams, valkey: ValkeyServer
) -> None:
    await adopted(pg, listener, valkey, "sales_channel")
    async with Ear(valkey.url, "sales") as ear:
        for number in range(200):
            transaction = pg.transaction()
            await transaction.start()
            await pg.execute("select pg_notify('sales_channel', $1)", str(number))
            if number % 3 == 0:
                await transaction.rollback()
            else:
                await transaction.commit()
        wanted = [str(number) for number in range(200) if number % 3]

        def numbers() -> list[str]:
            events = (event for _, publication in ear.heard for event in publication.events())
            return [plain for event in events if (plain := event.plain("sales").decode()) != "ping"]

        async def complete() -> bool:
            return len(numbers()) >= len(wanted)

        await eventually(complete)
        assert numbers() == wanted
    await streams.until_exact(pg, "sales")


async def test_unadopted_is_no_longer_heard(
    pg: asyncpg.Connection, listener: ListenerProcess, streams: Streams, valkey: ValkeyServer
) -> None:
    await adopted(pg, listener, valkey, "one", "two")
    await pg.execute("select notifiws.unadopt('one')")

    async def silent() -> bool:
        before = await pg.fetchval("select count(*) from notifiws.outbox where payload = 'to one'")
        await pg.execute("select pg_notify('one', 'to one'), pg_notify('two', 'to two')")

        async def second_came() -> bool:
            return bool(await pg.fetchval("select count(*) from notifiws.outbox where payload = 'to two'"))

        await eventually(second_came)
        return bool(before == await pg.fetchval("select count(*) from notifiws.outbox where payload = 'to one'"))

    await eventually(silent, 3)


async def test_the_nodes_are_told_of_new_channels_within_a_second(
    pg: asyncpg.Connection, listener: ListenerProcess, streams: Streams
) -> None:
    async def declared() -> list[str]:
        found: list[str] = json.loads(await streams.redis.get("notifiws:channels") or "[]")
        return found

    async def first() -> bool:
        return await declared() == ["ventas"]

    await eventually(first)
    for statement, channel in (
        ("select notifiws.adopt('legacy', 'adopted')", "adopted"),
        ("select notifiws.watch('ventas', 'watched')", "watched"),
        ("select notifiws.emit('emitted', '1')", "emitted"),
    ):
        await pg.execute(statement)

        async def told(channel: str = channel) -> bool:
            return channel in await declared()

        await eventually(told, 1.0)
    await pg.execute("select notifiws.unwatch('ventas', 'watched')")

    async def gone() -> bool:
        return await declared() == ["adopted", "emitted", "ventas"]

    await eventually(gone, 1.0)
