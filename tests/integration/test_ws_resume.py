"""Resume on real Valkey and a real node: nothing missed, nothing repeated, whatever the position and the speed."""

import asyncio
import random

import pytest
from redis.asyncio import Redis

from notifiws.stack.valkey import ValkeyServer
from tests.client import Client
from tests.nodes import RunningNode, running_node
from tests.publishing import Publisher, event, ids


async def test_forty_clients_on_two_nodes_are_exact(valkey: ValkeyServer, publisher: Publisher) -> None:
    async with running_node(valkey.url) as one, running_node(valkey.url) as two, asyncio.TaskGroup() as group:
        clients = [Client((one, two)[number % 2].ws, "sales") for number in range(40)]

        async def follow(client: Client) -> None:
            async with client:
                await client.received(900)
                await asyncio.sleep(0)

        tasks = [group.create_task(follow(client)) for client in clients]
        for client in clients:
            await client.wait(client.live.is_set)
        for number in range(300):
            await publisher.publish("sales", 1 + number % 5)
        await asyncio.gather(*tasks)
        for client in clients:
            assert not client.faults
            assert ids(client.events) == publisher.sent["sales"]


async def test_drops_at_random_positions_under_publishing(node: RunningNode, publisher: Publisher) -> None:
    chance = random.Random(1)
    stop = asyncio.Event()

    async def publish() -> None:
        while not stop.is_set():
            await publisher.publish("sales", chance.randrange(1, 8))
            if chance.random() < 0.2:
                await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(publish())
        clients = [Client(node.ws, "sales") for _ in range(8)]

        async def drop(client: Client) -> None:
            async with client:
                for _ in range(12):
                    await asyncio.sleep(chance.random() * 0.06)
                    await client.wait(lambda: client.position is not None)
                    # A position inside a publication, as one who applied half a frame has.
                    back = chance.randrange(4)
                    if back and len(client.events) > back:
                        del client.events[-back:]
                        last = publisher.positions["sales"]
                        number = client.events[-1]["id"]
                        client.position = f"e1:{next(p.tick for p in last if p.event >= number)}-{number}"
                    client.drop()
                    await client.wait(lambda: client.connection is not None)
                stop.set()
                await task
                target = len(publisher.sent["sales"])
                await client.wait(lambda: client.events and client.events[-1]["id"] == publisher.number)
                assert not client.faults, client.faults[:2]
                assert not client.resets, client.resets[:2]
                first = client.events[0]["id"]
                assert ids(client.events) == list(range(first, first + len(client.events)))
                assert len(client.events) <= target

        for client in clients:
            group.create_task(drop(client))
    assert node.node.metrics.registry.get_sample_value("notifiws_node_resumes_total", {"outcome": "recovered"}) > 20


async def test_every_position_resumes(node: RunningNode, publisher: Publisher) -> None:
    for count in (1, 3, 2, 5):
        await publisher.publish("sales", count)
    ticks = [tick for tick, count in ((1, 1), (2, 3), (3, 2), (4, 5)) for _ in range(count)]
    for seen in range(12):
        since = f"e1:{ticks[seen - 1]}-{seen}" if seen else "e1:0-0"
        async with node.v1() as client:
            answer = await client.ask(type="subscribe", id=1, channel="sales", since=since)
            assert answer["recovered"] is True
            assert answer["position"] == since
            assert answer["head"] == "e1:4-11"
            frames = await client.barrier()
            while sum(len(frame["events"]) for frame in frames) < 11 - seen:
                frames.append(await client.frame())
            at = since
            for frame in frames:
                assert frame["prev"] == at
                at = frame["position"]
            assert ids(each for frame in frames for each in frame["events"]) == list(range(seen + 1, 12))


@pytest.mark.parametrize(
    ("since", "reason"), [("e0:1-1", "epoch"), ("e1:1-1", "expired"), ("e1:99-5", "ahead"), ("e1:11-1", "ahead")]
)
async def test_positions_that_are_gone(node: RunningNode, publisher: Publisher, since: str, reason: str) -> None:
    for _ in range(9):
        await publisher.publish("sales", 1, pad=1000, history=(3_600_000, 3_000))

    async def beat() -> None:
        while True:
            await asyncio.sleep(0.1)
            await publisher.beat()

    task = asyncio.create_task(beat())
    async with node.v1() as client:
        answer = await client.ask(type="subscribe", id=1, channel="sales", since=since)
        assert answer["recovered"] is False
        assert answer["reason"] == reason
        assert answer["position"] == answer["head"] == "e1:9-9"
    gone = await node.get("/channels/sales/events", params={"since": since})
    assert gone.status_code == 410
    assert gone.json()["error"]["code"] == reason
    async with node.plain("sales", f"?since={since}") as plain:
        await plain.wait_closed()
        assert plain.close_code == 4410
    task.cancel()
    async with node.v1() as client:
        await client.ask(type="subscribe", id=1, channel="sales", since=since)
        await publisher.publish("sales", 1)
        assert ids((await client.frame())["events"]) == [10]


@pytest.mark.parametrize(("rewind", "first"), [(1, 15), (2, 14), (5, 11), (7, 9), (15, 1), (1000, 1)])
async def test_rewind_events(node: RunningNode, publisher: Publisher, rewind: int, first: int) -> None:
    for count in (4, 1, 6, 4):
        await publisher.publish("sales", count)
    async with node.v1() as client:
        answer = await client.ask(type="subscribe", id=1, channel="sales", rewind=rewind)
        assert answer["recovered"] is True
        events: list[int] = []
        while len(events) < 16 - first:
            events += ids((await client.frame())["events"])
        assert events == list(range(first, 16))


async def test_rewind_time(node: RunningNode, publisher: Publisher) -> None:
    from time import time

    for age in (600, 300, 60, 5):
        await publisher.publish("sales", 2, cut_us=int((time() - age) * 1e6))
    for rewind, count in (("90s", 4), ("1s", 0), ("8m", 6), ("24h", 8)):
        async with node.v1() as client:
            answer = await client.ask(type="subscribe", id=1, channel="sales", rewind=rewind)
            assert answer["recovered"] is True
            frames = await client.barrier()
            while frames and sum(len(frame["events"]) for frame in frames) < count:
                frames.append(await client.frame())
            assert len([each for frame in frames for each in frame["events"]]) in (0, count)


async def test_rewind_past_the_window_says_so(node: RunningNode, publisher: Publisher) -> None:
    for _ in range(9):
        await publisher.publish("sales", 1, pad=1000, history=(3_600_000, 3_000))
    async with node.v1() as client:
        answer = await client.ask(type="subscribe", id=1, channel="sales", rewind="24h")
        assert (answer["recovered"], answer["reason"]) == (False, "expired")
        assert ids((await client.frame())["events"])[0] > 1


async def test_what_pubsub_lost_is_read_from_the_stream(node: RunningNode, publisher: Publisher) -> None:
    async with Client(node.ws, "sales") as client:
        await publisher.publish("sales", 2)
        await publisher.lose("sales", 3)
        await publisher.lose("sales", 1)
        await publisher.publish("sales", 2)
        await client.received(8)
        assert ids(client.events) == publisher.sent["sales"]
        assert not client.faults and not client.resets


async def test_a_hole_is_told(node: RunningNode, publisher: Publisher, redis: Redis) -> None:
    async with Client(node.ws, "sales") as client, node.plain("sales") as plain:
        await publisher.publish("sales", 1)
        await client.received(1)
        await plain.recv()
        await publisher.lose("sales")
        await publisher.lose("sales")
        await redis.xtrim(publisher.keys.stream("sales", "e1"), maxlen=1, approximate=False)
        await publisher.publish("sales", 1)
        await client.wait(lambda: client.resets)
        assert client.resets[0]["reason"] == "expired"
        await publisher.publish("sales", 1)
        await client.wait(lambda: client.events[-1]["id"] == 5)
        await plain.wait_closed()
        assert plain.close_code == 4410


async def test_a_new_epoch_resets(node: RunningNode, publisher: Publisher, redis: Redis) -> None:
    async with Client(node.ws, "sales") as client:
        await publisher.publish("sales", 3)
        await client.received(3)
        after = Publisher(redis, epoch="e2")
        await after.begin("sales")
        after.number = 100
        await after.publish("sales", 1)
        await client.wait(lambda: client.resets)
        assert client.resets[0]["reason"] == "epoch"
        assert client.position.startswith("e2:")
        await after.publish("sales", 1)
        await client.wait(lambda: client.events[-1]["id"] == 102)


async def test_publications_of_a_deposed_epoch_are_not_shown(
    node: RunningNode, publisher: Publisher, redis: Redis
) -> None:
    async with Client(node.ws, "sales") as client:
        await publisher.publish("sales", 1)
        await Publisher(redis, epoch="e0").publish("sales", [event(7)])
        await publisher.publish("sales", 1)
        await client.received(2)
        assert ids(client.events) == [1, 2]
        assert not client.resets


async def test_subscribed_means_live(node: RunningNode, publisher: Publisher) -> None:
    for number in range(30):
        channel = f"c{number}"
        async with node.v1() as client:
            answer = await client.ask(type="subscribe", id=1, channel=channel)
            assert (answer["type"], answer["declared"], answer["live"]) == ("subscribed", False, True)
            await publisher.publish(channel, 1)
            assert ids((await client.frame(5))["events"]) == [publisher.number]


async def test_huge_and_exact_bytes(node: RunningNode, publisher: Publisher) -> None:
    new = '{"n": 123456789012345678901234567890.123456789, "ñ": "\\u0000é😀\\"", "nan": "NaN", "pad": "%s"}' % (
        "y" * 5_000_000
    )
    async with node.plain("sales") as plain, node.v1() as v1:
        await v1.ask(type="subscribe", id=1, channel="sales")
        await asyncio.sleep(0.1)
        await publisher.publish("sales", [event(1, new=new)])
        await publisher.publish("sales", [event(2)])
        assert await plain.recv() == new
        message = await v1.connection.recv()
        assert f'"new":{new},' in message
        assert ids((await v1.frame())["events"]) == [2]
    async with node.v1() as v1:
        await v1.ask(type="subscribe", id=1, channel="sales", since="e1:0-0")
        assert f'"new":{new},' in await v1.connection.recv()
    page = await node.get("/channels/sales/events")
    assert f'"new":{new},' in page.text
