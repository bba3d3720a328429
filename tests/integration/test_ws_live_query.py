"""Live queries on a node: the latest result at once, however old it is, and the end when one is dropped."""

import asyncio
import json

import msgspec
from redis.asyncio import Redis
from websockets.exceptions import ConnectionClosed

from tests.nodes import RunningNode
from tests.publishing import Publisher, event


async def declare(publisher: Publisher, *live: str) -> None:
    """As the leader does: live queries first, then the others, then the heartbeat that has the nodes look."""
    said = {"epoch": publisher.epoch, "term": 1, "channels": live}
    await publisher.client.set(publisher.keys.live_queries, msgspec.json.encode(said))
    await publisher.begin("sales")


def result(number: int, n: int) -> list[object]:
    return [event(number, op="result", payload=f'[{{"n":  {n}}}]')]


async def test_a_new_subscriber_gets_the_latest_result(node: RunningNode, publisher: Publisher) -> None:
    await declare(publisher, "sums", "empty")
    for number in range(1, 6):
        await publisher.publish("sums", result(number, number))  # type: ignore[arg-type]
    async with node.v1() as client:
        subscribed = await client.ask(type="subscribe", id=1, channel="sums")
        assert subscribed["type"] == "subscribed"
        assert subscribed["declared"] is True
        assert "recovered" not in subscribed
        assert (subscribed["position"], subscribed["head"]) == ("e1:4-4", "e1:5-5")
        frame = await client.frame()
        assert [each["payload"] for each in frame["events"]] == [[{"n": 5}]]
        assert (frame["prev"], frame["position"]) == ("e1:4-4", "e1:5-5")
        empty = await client.ask(type="subscribe", id=2, channel="empty")
        assert (empty["position"], empty["declared"]) == ("e1:0-0", True)
        # Whoever says where it stands gets what follows, and other channels begin at their heads.
        await client.send(type="subscribe", id=3, channel="sales")
        assert (await client.frame())["channel"] == "sales"
        await publisher.publish("empty", result(6, 6))  # type: ignore[arg-type]
        assert (await client.frame())["events"][0]["payload"] == [{"n": 6}]
    async with node.v1() as client:
        resumed = await client.ask(type="subscribe", id=1, channel="sums", since="e1:3-3")
        assert resumed["recovered"] is True
        assert [each["id"] for each in (await client.frame())["events"]] == [4]
    async with node.plain("sums") as plain:
        assert await asyncio.wait_for(plain.recv(), 10) == '[{"n":  5}]'


async def test_the_newest_is_kept_however_old(node: RunningNode, publisher: Publisher) -> None:
    await declare(publisher, "sums")
    for number in (1, 2):
        await publisher.publish("sums", result(number, number), history=(1, 1))  # type: ignore[arg-type]
    async with node.v1() as client:
        await client.ask(type="subscribe", id=1, channel="sums")
        assert [each["id"] for each in (await client.frame())["events"]] == [2]


async def test_a_dropped_query_says_so(node: RunningNode, publisher: Publisher, redis: Redis) -> None:
    await declare(publisher, "sums", "other")
    await publisher.publish("sums", result(1, 1))  # type: ignore[arg-type]
    async with node.v1() as client, node.v1() as bystander, node.plain("sums") as plain:
        await client.ask(type="subscribe", id=1, channel="sums")
        assert (await client.frame())["type"] == "events"
        await bystander.ask(type="subscribe", id=1, channel="other")
        assert json.loads(await asyncio.wait_for(plain.recv(), 10)) == [{"n": 1}]
        await redis.delete(publisher.keys.live_queries)  # lost by Redis: not dropped by anybody
        await publisher.beat()
        await declare(publisher, "other")
        assert await client.frame(3) == {"type": "unsubscribed", "sub": "sums", "reason": "dropped"}
        try:
            await asyncio.wait_for(plain.recv(), 3)
        except ConnectionClosed as closed:
            assert closed.rcvd is not None
            assert closed.rcvd.code == 1000
            assert "dropped" in closed.rcvd.reason
        again = await client.ask(type="subscribe", id=2, channel="sums")
        assert again["declared"] is False
        await publisher.publish("other", result(2, 2))  # type: ignore[arg-type]
        assert (await bystander.frame())["events"][0]["id"] == 2
