"""Positions behind the Redis window: answered from the log, without a gap or repeat, or said to be gone."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from notifiws.stack.ports import free_port
from notifiws.stack.valkey import ValkeyServer
from shared.position import MAX_INT, Position
from shared.publication import Publication
from tests.client import Client, order
from tests.conftest import Database
from tests.leader import KEYS, Leader, leading
from tests.nodes import RunningNode, running_node
from tests.publishing import ids


@pytest.fixture
async def leader(database: Database, valkey: ValkeyServer) -> AsyncIterator[Leader]:
    async with leading(database, valkey.url) as leader:
        yield leader


@pytest.fixture
async def node(leader: Leader, database: Database, valkey: ValkeyServer) -> AsyncIterator[RunningNode]:
    async with running_node(valkey.url, reader_database_url=database.url) as node:
        yield node


async def resumed(node: RunningNode, since: str, head: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Resume `sales`; returns `subscribed` and all events up to `head`, each frame's chain checked."""
    async with node.v1() as client:
        answer = await client.ask(type="subscribe", id=1, channel="sales", since=since)
        events: list[dict[str, Any]] = []
        at = answer["position"]
        while at != head and answer.get("recovered"):
            frame = await client.frame()
            assert frame["type"] == "events", frame
            assert order(frame["prev"]) <= order(at)
            at = frame["position"]
            events += frame["events"]
        assert [frame for frame in await client.barrier() if frame["events"]] == []
        return answer, events


async def test_every_position_of_the_log_resumes_exactly(leader: Leader, node: RunningNode) -> None:
    """In the log, on the edge to the stream, in the stream, inside publications, between two channels' ticks."""
    for count in (2, 3, 1, 4, 2):
        await leader.emit("stock", 2)
        await leader.emit("sales", count)
    await leader.keep("sales", 2)
    positions = leader.sent["sales"]
    head = str(positions[-1])
    for number in range(len(positions) + 1):
        since = str(positions[number - 1]) if number else f"{leader.epoch}:0-0"
        answer, events = await resumed(node, since, head)
        assert (answer["recovered"], answer["position"], answer["head"]) == (True, since, head)
        assert ids(events) == [position.event for position in positions[number:]]
    async with node.v1() as client:
        answer = await client.ask(type="subscribe", id=1, channel="sales", since=str(leader.sent["stock"][0]))
        assert answer["recovered"] is True
        assert ids((await client.frame())["events"]) == [p.event for p in positions[:2]]


async def test_bytes_from_the_log_are_those_that_were_published(leader: Leader, node: RunningNode) -> None:
    await leader.writer.execute(
        "create table sales (id bigint primary key, n numeric, t text); select notifiws.watch('sales', 'sales');"
        "insert into sales values (1, 1.50, 'Té'), (2, 'NaN', null); update sales set n = 10000000000000000000000.1;"
        "select notifiws.adopt_payloads(array['sales'], array['no json']); delete from sales; truncate sales"
    )
    await leader.publish()
    await leader.emit("sales", 700)
    entries = await leader.redis.xrange(KEYS.stream("sales", leader.epoch))
    published = [Publication(fields[b"p"]) for _, fields in entries]
    origin = Position.origin(leader.epoch)
    found: list[Publication] = []
    while (at := found[-1].position if found else origin) != published[-1].position:
        page = await node.node.log.page("sales", at, published[-1].position)
        assert page
        assert page[0].prev == at
        found += page
    assert [bytes(e.data) for p in found for e in p.events()] == [bytes(e.data) for p in published for e in p.events()]
    assert found[0].data == published[0].data


async def test_the_edges(leader: Leader, node: RunningNode) -> None:
    """The oldest kept, one before, one after, the head, beyond it, another epoch."""
    for _ in range(6):
        await leader.emit("sales", 2)
    await leader.keep("sales", 1)
    positions = leader.sent["sales"]
    await leader.writer.execute("update notifiws.meta set horizon = $1", positions[3].tick)
    oldest = f"{leader.epoch}:{positions[3].tick}-{MAX_INT}"
    wanted = [
        (str(positions[2]), "expired"),
        (str(positions[3]), "expired"),  # the tick's last event on this channel, but who knows?
        (oldest, 4),
        (f"{leader.epoch}:{positions[4].tick}-0", 4),
        (str(positions[4]), 5),
        (str(positions[-2]), 11),
        (str(positions[-1]), 12),
        (f"{leader.epoch}:{positions[-1].tick + 5}-1", "ahead"),
        (f"zzz:{positions[-1].tick}-1", "epoch"),
    ]
    beating = asyncio.create_task(_beating(leader))
    for since, want in wanted:
        answer, events = await resumed(node, since, str(positions[-1]))
        page = await node.get("/channels/sales/events", params={"since": since})
        if isinstance(want, str):
            assert (answer["recovered"], answer["reason"]) == (False, want), since
            assert (page.status_code, page.json()["error"]["code"]) == (410, want), since
            async with node.plain("sales", f"?since={since}") as plain:
                await plain.wait_closed()
                assert plain.close_code == 4410
        else:
            expected = [position.event for position in positions[want:]]
            assert answer["recovered"] is True, since
            assert ids(events) == ids(page.json()["events"]) == expected, since
    beating.cancel()
    page = (await node.get("/channels/sales/events")).json()
    assert ids(page["events"]) == [position.event for position in positions[4:]]


async def _beating(leader: Leader) -> None:
    while True:
        await asyncio.sleep(0.1)
        await leader.beat()


async def test_a_fresh_epoch_begins_at_its_origin(leader: Leader, node: RunningNode) -> None:
    """Before retention has taken anything of it, the origin of a channel is as readable as any position."""
    await leader.emit("sales")
    await leader.log.start_epoch()
    await leader.begin()
    await leader.emit("sales", 2)
    await leader.emit("sales", 1)
    await leader.keep("sales", 1)
    await node.until(lambda: node.node.broker.epoch == leader.epoch)
    new = [p for p in leader.sent["sales"] if p.epoch == leader.epoch]
    answer, events = await resumed(node, f"{leader.epoch}:0-0", str(new[-1]))
    assert answer["recovered"] is True
    assert ids(events) == [p.event for p in new]


async def test_events_of_long_transactions_lie_in_the_tick_that_saw_them(
    leader: Leader, node: RunningNode, database: Database
) -> None:
    """Ids and transactions in another order than ticks: the log answers in the order of the stream."""
    chance = random.Random(5)
    writers = [await database.connect() for _ in range(4)]
    open_since: dict[int, Any] = {}
    for _ in range(60):
        number = chance.randrange(4)
        if number in open_since:
            await open_since.pop(number).commit()
        else:
            open_since[number] = writers[number].transaction()
            await open_since[number].start()
        if number in open_since:
            await writers[number].execute("select notifiws.emit('sales', to_jsonb($1::int))", number)
        if chance.random() < 0.5:
            await leader.publish()
    for transaction in open_since.values():
        await transaction.commit()
    await leader.publish()
    positions = leader.sent["sales"]
    assert [p.event for p in positions] != sorted(p.event for p in positions), "try another seed"
    await leader.keep("sales", 1)
    for number in range(0, len(positions), 3):
        answer, events = await resumed(node, str(positions[number]), str(positions[-1]))
        assert answer["recovered"] is True
        assert ids(events) == [p.event for p in positions[number + 1 :]]


async def test_a_large_transaction_is_read_page_by_page(leader: Leader, node: RunningNode) -> None:
    await leader.commit("stock", 3_000)
    await leader.writer.execute(
        "select notifiws.emit(case when g % 3 = 0 then 'stock' else 'sales' end, to_jsonb(g)) "
        "from generate_series(1, 9000) g"
    )
    await leader.publish()
    await leader.emit("sales", 5, pad=700_000)
    await leader.emit("sales")
    await leader.keep("sales", 1)
    positions = leader.sent["sales"]
    answer, events = await resumed(node, f"{leader.epoch}:0-0", str(positions[-1]))
    assert answer["recovered"] is True
    assert ids(events) == [p.event for p in positions]
    answer, events = await resumed(node, str(positions[4321]), str(positions[-1]))
    assert ids(events) == [p.event for p in positions[4322:]]
    assert await node.node.log.page("sales", positions[0], positions[-2])


@pytest.mark.parametrize("rewind", [1, 3, 7, 12, 13, 500])
async def test_rewind_by_events_goes_on_in_the_log(leader: Leader, node: RunningNode, rewind: int) -> None:
    for count in (2, 3, 1, 4, 2):
        await leader.emit("stock", 3)
        await leader.emit("sales", count)
    await leader.keep("sales", 1)
    positions = leader.sent["sales"]
    async with node.v1() as client:
        answer = await client.ask(type="subscribe", id=1, channel="sales", rewind=rewind)
        assert answer["recovered"] is True
        events: list[int] = []
        while len(events) < min(rewind, len(positions)):
            events += ids((await client.frame())["events"])
        assert events == [p.event for p in positions][-rewind:]


async def test_rewind_by_time_goes_on_in_the_log(leader: Leader, node: RunningNode) -> None:
    for _ in range(6):
        await leader.emit("sales")
    await leader.writer.execute("update notifiws.tick set at = at - interval '1 h' * (10 - number)")
    await leader.keep("sales", 1)
    positions = leader.sent["sales"]
    for hours, want in (("150m", 1), ("390m", 3), ("1000m", 6), ("30m", 1)):
        async with node.v1() as client:
            answer = await client.ask(type="subscribe", id=1, channel="sales", rewind=hours)
            assert answer["recovered"] is True
            events: list[int] = []
            while len(events) < want:
                events += ids((await client.frame())["events"])
            assert [f for f in await client.barrier() if f["events"]] == []
            if hours != "150m" and hours != "30m":
                assert events == [p.event for p in positions][6 - len(events) :]
    await leader.writer.execute("update notifiws.meta set horizon = 2")
    async with node.v1() as client:
        answer = await client.ask(type="subscribe", id=1, channel="sales", rewind="1000m")
        assert (answer["recovered"], answer["reason"]) == (False, "expired")
        assert answer["position"] == f"{leader.epoch}:3-0"


async def test_a_gap_beyond_the_stream_is_filled_from_the_log(
    leader: Leader, database: Database, valkey: ValkeyServer
) -> None:
    """A node was deaf for longer than Redis keeps: its clients notice nothing, or, without a reader, are told."""
    async with (
        running_node(valkey.url, reader_database_url=database.url) as node,
        running_node(valkey.url) as bare,
        Client(node.ws, "sales") as client,
        Client(bare.ws, "sales") as told,
    ):
        await leader.emit("sales")
        await client.received(1)
        await told.received(1)
        for each in (node, bare):
            each.node.broker._followed["sales"].topic.message = lambda _: None
        for _ in range(5):
            await leader.emit("sales", 2)
        await leader.keep("sales", 1)
        for each in (node, bare):
            broker = each.node.broker
            broker._followed["sales"].topic.message = lambda data, broker=broker: broker._on_message("sales", data)
        await leader.emit("sales")
        await client.received(12)
        await told.wait(lambda: told.resets)
        assert ids(client.events) == [p.event for p in leader.sent["sales"]]
        assert not client.resets
        assert not client.faults
        assert told.resets[0]["reason"] == "expired"


async def test_redis_that_lost_everything_is_no_reason_to_fetch_afresh(leader: Leader, node: RunningNode) -> None:
    for _ in range(3):
        await leader.emit("sales", 2)
    since = leader.sent["sales"][2]
    async with Client(node.ws, "sales") as client:
        await client.wait(lambda: client.position)
        await leader.redis.flushall()
        # As a leader does that finds its marks lost.
        leader.heads = type(leader.heads)(leader.epoch)
        leader.heads.distrust(leader.tick)
        await leader.publisher.announce_epoch()
        await leader.beat()
        answer, events = await resumed(node, str(since), str(leader.sent["sales"][-1]))
        assert answer["recovered"] is True
        assert ids(events) == [p.event for p in leader.sent["sales"][3:]]
        await leader.emit("sales")
        await client.received(1)
        assert not client.faults
        assert not client.resets


async def test_a_reader_that_lags_or_is_away_never_answers(
    leader: Leader, node: RunningNode, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        await leader.emit("sales")
    await leader.keep("sales", 1)
    first, last = leader.sent["sales"][0], leader.sent["sales"][-1]
    # A standby that has not replayed the last two ticks.
    snapshot = await leader.writer.fetch(
        "delete from notifiws.tick where number > $1 returning number, slot, snapshot::text, at", last.tick - 2
    )
    monkeypatch.setattr("ws_service.endpoints.v1._SUBSCRIBE_SECONDS", 0.5)
    async with node.v1() as client:
        answer = await client.ask(type="subscribe", id=1, channel="sales", since=str(first))
        assert (answer["type"], answer["code"]) == ("error", "unavailable")
    answer_http = await node.get("/channels/sales/events", params={"since": str(first)})
    assert (answer_http.status_code, answer_http.json()["error"]["code"]) == (503, "unavailable")
    assert node.node.readiness.ready
    for row in snapshot:
        await leader.writer.execute(
            "insert into notifiws.tick values ($1, $2, $3::text::pg_snapshot, $4)",
            row["number"], row["slot"], row["snapshot"], row["at"],
        )  # fmt: skip
    answer, events = await resumed(node, str(first), str(last))
    assert len(events) == 3
    # The reader's role loses its rights: nothing that waiting would mend.
    async with running_node(
        node.node.settings.redis_url.get_secret_value(),  # type: ignore[union-attr]
        reader_database_url=database.url.replace("/t", "/nowhere_t"),
    ) as other:
        answer, _ = await resumed(other, str(first), str(last))
        assert (answer["recovered"], answer["reason"]) == (False, "expired")
        assert other.node.readiness.ready
        page = (await other.get("/channels/sales/events")).json()
        assert ids(page["events"]) == [last.event]
        # Mended while clients go on asking.
        other.node.log._reader._url = database.url  # type: ignore[union-attr]
        async with asyncio.timeout(10):
            while not (await resumed(other, str(first), str(last)))[0]["recovered"]:
                await asyncio.sleep(0.05)


async def test_a_reader_that_is_away_is_waited_for(
    leader: Leader, database: Database, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old positions wait; all else goes on, and the node stays ready."""
    monkeypatch.setattr("ws_service.endpoints.v1._SUBSCRIBE_SECONDS", 1.0)
    for _ in range(4):
        await leader.emit("sales")
    await leader.keep("sales", 2)
    positions = leader.sent["sales"]
    server = database.server
    away = database.url.replace(f":{server.port}/", f":{free_port()}/")
    async with running_node(valkey.url, reader_database_url=away) as node:
        async with node.v1() as client:
            answer = await client.ask(type="subscribe", id=1, channel="sales", since=str(positions[0]))
            assert (answer["type"], answer["code"]) == ("error", "unavailable")
            answer = await client.ask(type="subscribe", id=2, channel="sales", since=str(positions[2]))
            assert answer["recovered"] is True
        refused = await node.get("/channels/sales/events", params={"since": str(positions[0])})
        assert refused.status_code == 503
        page = (await node.get("/channels/sales/events")).json()
        assert ids(page["events"]) == [p.event for p in positions[2:]]
        async with node.plain("sales", f"?since={positions[0]}&format=event") as plain:
            node.node.log._reader._url = database.url  # type: ignore[union-attr]
            first = json.loads(await asyncio.wait_for(plain.recv(), 10))
            assert first["id"] == positions[1].event
        assert node.node.readiness.ready


async def test_a_reader_needs_only_its_role(leader: Leader, database: Database, valkey: ValkeyServer) -> None:
    await leader.emit("sales", 2)
    await leader.emit("sales")
    await leader.keep("sales", 1)
    admin = await database.connect(superuser=True)
    role = f"reader_{database.name}"
    await admin.execute(f"create role {role} login password 'secret'; grant notifiws_reader to {role}")
    try:
        url = database.url.replace(database.url.split("//")[1].split("@")[0], f"{role}:secret")
        async with running_node(valkey.url, reader_database_url=url) as node:
            answer, events = await resumed(node, f"{leader.epoch}:0-0", str(leader.sent["sales"][-1]))
            assert answer["recovered"] is True
            assert len(events) == 3
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            connection = await asyncpg.connect(url)
            try:
                await connection.execute("select notifiws.emit('sales', '1')")
            finally:
                await connection.close()
    finally:
        await admin.execute(f"drop role {role}")


async def test_many_who_resume_share_their_reads(leader: Leader, node: RunningNode) -> None:
    for _ in range(8):
        await leader.emit("sales", 20)
    await leader.keep("sales", 3)
    positions = leader.sent["sales"]
    chance = random.Random(3)

    async def one() -> None:
        number = chance.randrange(20)
        answer, events = await resumed(node, str(positions[number]), str(positions[-1]))
        assert answer["recovered"] is True
        assert ids(events) == [p.event for p in positions[number + 1 :]]

    def count(source: str) -> float:
        found = node.node.metrics.registry.get_sample_value(
            "notifiws_node_history_pages_total", {"source": source, "outcome": "read"}
        )
        return found or 0.0

    await asyncio.gather(*(one() for _ in range(100)))
    assert count("log") <= 20, "one page for each position at most"
    assert count("memory") >= 100

    async def commands() -> int:
        return int((await leader.redis.info("stats"))["total_commands_processed"])

    # A node has died: all come back with the same position. (The node's own probes are a command a second or so.)
    before = await commands()
    await asyncio.gather(*(resumed(node, str(positions[130]), str(positions[-1])) for _ in range(150)))
    assert await commands() - before < 50, "reads per client far below one"
    assert not node.node.retained.flights._turns


async def test_a_subscription_that_stands_still_never_ages_out(leader: Leader, node: RunningNode) -> None:
    """Its position follows the log, though nothing happens in its channel, and retention passes its last event."""
    await leader.emit("sales")
    async with node.v1() as client:
        answer = await client.ask(type="subscribe", id=1, channel="sales")
        head = str(leader.sent["sales"][0])
        assert answer["position"] == head
        for _ in range(5):
            await leader.emit("stock")
        await node.node.standstill.say()
        frame = await client.frame()
        assert (frame["prev"], frame["events"]) == (head, [])
        position = frame["position"]
        assert order(position) == (leader.tick, 0)
    # It is away; retention takes all that came before, and a burst goes beyond what Redis keeps.
    await leader.writer.execute("update notifiws.meta set horizon = $1", leader.tick - 1)
    for number in range(2):
        answer, events = await resumed(node, position, position)
        assert (answer["recovered"], answer["head"], events) == (True, position, []), number
    for _ in range(4):
        await leader.emit("sales", 2)
    await leader.keep("sales", 1)
    answer, events = await resumed(node, position, str(leader.sent["sales"][-1]))
    assert answer["recovered"] is True
    assert ids(events) == [p.event for p in leader.sent["sales"][1:]]
    answer, _ = await resumed(node, head, str(leader.sent["sales"][-1]))
    assert (answer["recovered"], answer["reason"]) == (False, "expired")
