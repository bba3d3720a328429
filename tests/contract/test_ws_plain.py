"""The plain endpoint from outside."""

import contextlib
import json
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from websockets.exceptions import ConnectionClosed

from notifiws.stack.valkey import ValkeyServer
from tests.nodes import RunningNode, running_node
from tests.publishing import Publisher, event


@pytest.fixture
async def publisher(valkey: ValkeyServer) -> AsyncIterator[Publisher]:
    async with Redis.from_url(valkey.url) as client:
        publisher = Publisher(client)
        await publisher.begin("sales")
        yield publisher


@pytest.fixture
async def node(valkey: ValkeyServer, publisher: Publisher) -> AsyncIterator[RunningNode]:
    async with running_node(valkey.url) as node:
        yield node


EVENTS = [
    event(1, new='{"id": 1, "n": 1.10}'),
    event(2, op="update", new='{"id": 1}', old='{"id": 1, "n": 1.10}'),
    event(3, op="delete", new=None, old='{"id": 1}'),
    event(4, op="truncate", new=None, key=None),
    event(5, op="emit", payload='{"a":  [1, 2]}'),
    event(6, op="notify", payload='{"plain": true}'),
    event(7, op="notify", payload='no "json"\n\\ñ😀', is_json=False),
    event(8, op="notify", payload="", is_json=False),
]


async def live(node: RunningNode, count: int = 1) -> None:
    await node.until(lambda: sum(
        len(group.members) for groups in node.node.hub._channels.values() for group in groups.values()
    ) == count)  # fmt: skip


async def test_payloads(node: RunningNode, publisher: Publisher) -> None:
    async with node.plain("sales") as plain:
        await live(node)
        await publisher.publish("sales", EVENTS)
        got = [await plain.recv() for _ in EVENTS]
        assert got[0] == '{"id": 1, "n": 1.10}'
        assert got[1] == '{"id": 1}'
        assert json.loads(got[2])["op"] == "delete"
        assert json.loads(got[2])["position"] == "e1:1-3"
        assert json.loads(got[3])["op"] == "truncate"
        assert got[4:] == ['{"a":  [1, 2]}', '{"plain": true}', 'no "json"\n\\ñ😀', ""]


async def test_events(node: RunningNode, publisher: Publisher) -> None:
    async with node.plain("sales", "?format=event") as plain:
        await live(node)
        await publisher.publish("sales", EVENTS)
        got = [json.loads(await plain.recv()) for _ in EVENTS]
        assert [each["id"] for each in got] == list(range(1, 9))
        assert {each["channel"] for each in got} == {"sales"}
        assert got[6]["json"] is False


async def test_ops_and_since(node: RunningNode, publisher: Publisher) -> None:
    await publisher.publish("sales", EVENTS)
    async with node.plain("sales", "?ops=insert,delete&format=event&since=e1:0-0") as plain:
        assert [json.loads(await plain.recv())["op"] for _ in range(2)] == ["insert", "delete"]
        await live(node)
        await publisher.publish("sales", [event(9, op="update"), event(10)])
        assert json.loads(await plain.recv())["id"] == 10
    async with node.plain("sales", "?since=e1:1-5") as plain:
        assert await plain.recv() == '{"plain": true}'


@pytest.mark.parametrize(
    "path",
    [
        "SALES", "a%20b", "a/b", "%C3%B1", "sales?format=xml", "sales?ops=insert,dance", "sales?ops=", "sales?since=1",
        "sales?since=", "sales?limit=5", "sales?format=event&format=payload", "x" * 129,
    ],
)  # fmt: skip
async def test_what_is_malformed_closes_with_4400(node: RunningNode, path: str) -> None:
    async with node.plain(path) as plain:
        await plain.wait_closed()
        assert plain.close_code == 4400
        assert plain.close_reason


async def test_tickets_are_not_ignored(node: RunningNode) -> None:
    async with node.plain("sales", "?ticket=abc") as plain:
        await plain.wait_closed()
        assert plain.close_code == 4401


async def test_what_the_client_sends_is_ignored_within_limits(node: RunningNode, publisher: Publisher) -> None:
    async with node.plain("sales") as plain:
        await live(node)
        await plain.send("hello")
        await plain.send(b"\x00")
        await publisher.publish("sales")
        assert await plain.recv() == '{"id":1,"pad":""}'
        await plain.send("x" * 70_000)
        await plain.wait_closed()
        assert plain.close_code == 1009
    async with node.plain("sales") as plain:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(20_000):
                await plain.send("x")
        await plain.wait_closed()
        assert plain.close_code == 4429
