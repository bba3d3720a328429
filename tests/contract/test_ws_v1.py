"""`notifiws.v1` from outside: frames, errors and close codes of one node."""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from notifiws.stack.valkey import ValkeyServer
from tests.nodes import RunningNode, running_node
from tests.publishing import Publisher, ids


@pytest.fixture
async def publisher(valkey: ValkeyServer) -> AsyncIterator[Publisher]:
    async with Redis.from_url(valkey.url) as client:
        publisher = Publisher(client)
        await publisher.begin("sales", "stock")
        yield publisher


@pytest.fixture
async def node(valkey: ValkeyServer, publisher: Publisher) -> AsyncIterator[RunningNode]:
    async with running_node(valkey.url, max_subscriptions=50) as node:
        yield node


async def test_welcome(node: RunningNode) -> None:
    async with node.v1() as client:
        assert client.connection.subprotocol == "notifiws.v1"
        welcome = client.welcome
        assert welcome["type"] == "welcome"
        assert welcome["session"] and welcome["node"] and welcome["version"]
        assert welcome["ping_seconds"] > 0
        assert set(welcome["limits"]) == {
            "frame_bytes", "messages_per_second", "subscriptions", "filter_terms", "snapshot_rows", "history_events",
            "send_buffer_bytes",
        }  # fmt: skip
        assert welcome["limits"]["subscriptions"] == 50


async def test_frames_before_welcome_are_taken(node: RunningNode) -> None:
    async with connect(node.ws + "/ws", subprotocols=["other", "notifiws.v1"]) as socket:
        await socket.send('{"type":"ping","id":1}')
        assert json.loads(await socket.recv())["type"] == "welcome"
        assert json.loads(await socket.recv()) == {"type": "pong", "id": 1}


async def test_subscribe_and_events(node: RunningNode, publisher: Publisher) -> None:
    async with node.v1() as client:
        answer = await client.ask(type="subscribe", id=4, channel="sales")
        assert answer == {
            "type": "subscribed", "id": 4, "sub": answer["sub"], "channel": "sales", "position": "e1:0-0",
            "head": "e1:0-0", "live": True, "declared": True,
        }  # fmt: skip
        await publisher.publish("sales", 2)
        await publisher.publish("stock", 1)
        await publisher.publish("sales", 1)
        one, two = await client.frame(), await client.frame()
        assert (one["channel"], one["prev"], one["position"]) == ("sales", "e1:0-0", "e1:1-2")
        assert "sub" not in one
        assert (two["prev"], two["position"]) == ("e1:1-2", "e1:3-4")
        assert ids(one["events"] + two["events"]) == [1, 2, 4]


async def test_several_subscriptions_and_unsubscribe(node: RunningNode, publisher: Publisher) -> None:
    async with node.v1() as client:
        sales = await client.ask(type="subscribe", id=1, channel="sales")
        await client.ask(type="subscribe", id=2, channel="stock")
        assert (await client.ask(type="subscribe", id=3, channel="sales"))["code"] == "already_subscribed"
        gone = await client.ask(type="unsubscribe", id=4, sub=sales["sub"])
        assert gone == {"type": "unsubscribed", "id": 4, "sub": sales["sub"]}
        await publisher.publish("sales")
        await publisher.publish("stock")
        assert (await client.frame())["channel"] == "stock"
        again = await client.ask(type="subscribe", id=5, channel="sales", since="e1:0-0")
        assert again["sub"] == sales["sub"]
        assert again["recovered"] is True
        assert ids((await client.frame())["events"]) == [1]
        assert (await client.ask(type="unsubscribe", id=6, channel="sales"))["type"] == "unsubscribed"


async def test_an_undeclared_channel_is_no_error(node: RunningNode, publisher: Publisher) -> None:
    async with node.v1() as client:
        assert (await client.ask(type="subscribe", id=1, channel="nobody"))["declared"] is False
        await publisher.begin("sales", "fresh")
        await node.until(lambda: "fresh" in node.node.broker.declared)  # its heartbeat says so
        assert (await client.ask(type="subscribe", id=2, channel="fresh"))["declared"] is True


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ({"type": "dance", "id": 3}, "unknown_type"),
        ({"type": "subscribe", "id": 3}, "bad_field"),
        ({"type": "subscribe", "id": 3, "channel": "NO"}, "bad_channel"),
        ({"type": "subscribe", "id": 3, "channel": "sales", "since": "17"}, "bad_position"),
        ({"type": "subscribe", "id": 3, "channel": "sales", "filter": {"a": 1}}, "unsupported"),
        ({"type": "subscribe", "id": 3, "channel": "sales", "snapshot": True}, "unsupported"),
        ({"type": "subscribe", "id": 3, "channel": "sales", "conflate": True}, "unsupported"),
        ({"type": "subscribe", "id": 3, "channel": "sales", "rewind": 5000}, "limit"),
        ({"type": "unsubscribe", "id": 3, "sub": "sales"}, "not_subscribed"),
    ],
)
async def test_errors_leave_the_connection_open(node: RunningNode, frame: dict[str, Any], code: str) -> None:
    async with node.v1() as client:
        error = await client.ask(**frame)
        assert (error["type"], error["id"], error["code"]) == ("error", 3, code)
        assert (await client.ask(type="ping", id=9)) == {"type": "pong", "id": 9}


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("no json", 4400),
        ("[]", 4400),
        ("[" * 60_000, 4400),
        (b"\x00\x01", 1003),
        ("x" * 70_000, 1009),
    ],
)
async def test_close_codes(node: RunningNode, message: str | bytes, code: int) -> None:
    async with node.v1() as client:
        await client.connection.send(message)
        assert (await client.closed())[0] == code


async def test_invalid_utf8_and_protocol_errors(node: RunningNode) -> None:
    for frame, code in (
        (b"\x81\x82\x00\x00\x00\x00\xff\xff", 1007),
        (b"\x81\x02hi", 1002),
        (b"\xc1\x80\x00\x00\x00\x00", 1002),
    ):
        async with node.v1() as client:
            client.connection.transport.write(frame)
            assert (await client.closed())[0] == code


async def test_too_many_messages(node: RunningNode) -> None:
    async with node.v1() as client:
        most = client.welcome["limits"]["messages_per_second"]
        with contextlib.suppress(Exception):
            for number in range(most * 20):
                await client.connection.send(f'{{"type":"ping","id":{number}}}')
        codes = set()
        with contextlib.suppress(Exception):
            while True:
                frame = json.loads(await client.connection.recv())
                codes.add(frame.get("code", frame["type"]))
        assert codes == {"pong", "rate_limited"}
        assert client.connection.close_code == 4429


async def test_too_many_subscriptions(node: RunningNode) -> None:
    async with node.v1() as client:
        for number in range(50):
            assert (await client.ask(type="subscribe", id=number, channel=f"c{number}"))["type"] == "subscribed"
        assert (await client.ask(type="subscribe", id=77, channel="one.more"))["code"] == "limit"
        await client.ask(type="unsubscribe", id=78, channel="c1")
        assert (await client.ask(type="subscribe", id=79, channel="one.more"))["type"] == "subscribed"


async def test_auth_under_none_is_welcome(node: RunningNode) -> None:
    async with node.v1() as client:
        assert "id" not in client.welcome
        assert (await client.ask(type="auth", id=7, token="anything")) == client.welcome | {"id": 7}
        assert (await client.ask(type="auth", token="anything")) == client.welcome


async def test_without_the_subprotocol(node: RunningNode) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(node.ws + "/ws").__aenter__()
    assert refused.value.response.status_code == 400
    assert b"notifiws.v1" in refused.value.response.body
    assert (await node.get("/ws")).status_code == 400


@pytest.mark.parametrize("path", ["/ws", "/ws/sales"])
async def test_origin_host_and_tokens_in_the_query(node: RunningNode, path: str) -> None:
    for headers in ({"Origin": "null"}, {"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        with pytest.raises(InvalidStatus) as refused:
            await connect(node.ws + path, subprotocols=["notifiws.v1"], additional_headers=headers).__aenter__()
        assert refused.value.response.status_code == 403
    good = {"Origin": node.url}
    async with connect(node.ws + path, subprotocols=["notifiws.v1"], additional_headers=good):
        pass
    for name in ("token", "access_token", "jwt"):
        async with connect(f"{node.ws}{path}?{name}=x", subprotocols=["notifiws.v1"]) as socket:
            await socket.wait_closed()
            assert socket.close_code == 4401


@pytest.mark.parametrize(
    ("query", "code", "reason"),
    [
        ("ticket=abc", 4401, "tickets are not supported in this release"),
        ("fliter=x", 4400, "fliter"),
        ("since=e1:0-0", 4400, "since"),
        ("ticket=a&ticket=b", 4400, "twice"),
    ],
)
async def test_parameters_are_refused_and_never_ignored(node: RunningNode, query: str, code: int, reason: str) -> None:
    async with connect(f"{node.ws}/ws?{query}", subprotocols=["notifiws.v1"]) as socket:
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == code
        assert reason in (socket.close_reason or "")


async def test_connection_limits(valkey: ValkeyServer, publisher: Publisher) -> None:
    limits = {"max_connections": 3, "max_connections_per_ip": 2}
    async with running_node(valkey.url, **limits) as node, node.v1(), node.plain("sales") as plain:
        async with connect(node.ws + "/ws", subprotocols=["notifiws.v1"]) as third:
            await third.wait_closed()
            assert third.close_code == 4429
        await plain.close()
        await node.until(lambda: node.node.admission.count == 1)
        async with node.v1():
            pass


async def test_an_abandoned_subscribe_leaves_nothing(node: RunningNode) -> None:
    for _ in range(20):
        async with node.v1() as client:
            await client.send(type="subscribe", id=1, channel="sales")
            client.connection.transport.abort()
    await node.until(lambda: not node.node.clients)
    assert node.node.hub._channels == {}
    assert [feed.users for feed in node.node.broker.feeds()] == [0]
    assert node.node.metrics.subscriptions._value.get() == 0


async def test_subscribe_then_unsubscribe_at_once(node: RunningNode, publisher: Publisher) -> None:
    async with node.v1() as client:
        await client.send(type="subscribe", id=1, channel="sales")
        await client.send(type="unsubscribe", id=2, channel="sales")
        await client.send(type="subscribe", id=3, channel="sales")
        never, gone, stands = [await client.frame() for _ in range(3)]
        assert (never["type"], never["id"], never["code"]) == ("error", 1, "not_subscribed")
        assert never["fix"]
        assert gone == {"type": "unsubscribed", "id": 2, "sub": "sales"}
        assert (stands["type"], stands["id"]) == ("subscribed", 3)
        await publisher.publish("sales")
        assert ids((await client.frame())["events"]) == [1]


async def test_standstill_is_said(node: RunningNode, publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    async with node.v1() as client:
        await client.ask(type="subscribe", id=1, channel="sales")
        await publisher.publish("sales")
        await client.frame()
        for _ in range(2):
            await node.node.standstill.say()
        frame = await client.frame()
        assert frame == {"type": "events", "channel": "sales", "prev": "e1:1-1", "position": "e1:1-1", "events": []}


async def test_a_position_of_a_busier_channel(node: RunningNode, publisher: Publisher) -> None:
    quiet = await publisher.publish("stock")
    since = str(await publisher.publish("sales", 3))
    async with node.v1() as client:
        await client.send(type="subscribe", id=1, channel="stock", since=since)
        # Its tick may still be under way, with an event of this channel to come.
        assert await client.barrier() == []
        await publisher.beat()
        answer = await client.frame(seconds=2)
        assert (answer["recovered"], answer["position"], answer["head"]) == (True, since, since)
        await publisher.publish("stock")
        frame = await client.frame()
        assert frame["prev"] == str(quiet)
        assert ids(frame["events"]) == [5]
    page = await node.get("/channels/sales/events", params={"since": "e1:3-5"})
    assert page.status_code == 410
    await publisher.beat()
    page = await node.get("/channels/sales/events", params={"since": "e1:3-5"})
    assert page.json() == {"events": [], "position": "e1:3-5", "more": False}
    async with node.plain("sales", "?since=e1:3-5&format=event") as plain:
        await node.until(lambda: "sales" in node.node.hub._channels)
        await publisher.publish("sales")
        assert json.loads(await plain.recv())["id"] == 6


async def test_a_position_that_redis_cannot_vouch_for(node: RunningNode, publisher: Publisher) -> None:
    await publisher.publish("stock")
    since = str(await publisher.publish("sales"))
    await publisher.beat(floor=2)
    async with node.v1() as client:
        answer = await client.ask(type="subscribe", id=1, channel="stock", since=since)
        assert (answer["recovered"], answer["reason"], answer["position"]) == (False, "expired", "e1:1-1")
