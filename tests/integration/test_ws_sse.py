"""Server-sent events: what is said, resumed, bounded and drained."""

import asyncio
import contextlib
import socket
import subprocess

import httpx
import pytest
from redis.exceptions import ConnectionError

from notifiws.stack.valkey import ValkeyServer
from tests.events import events
from tests.nodes import RunningNode, running_node
from tests.publishing import Publisher, event
from ws_service.endpoints import sse


async def test_a_stream(node: RunningNode, publisher: Publisher) -> None:
    await publisher.publish("sales")
    async with events(node.url + "/sse/sales") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-store"
        assert stream.headers["x-accel-buffering"] == "no"
        assert "content-length" not in stream.headers
        first = await stream.next()
        assert (first.event, first.id) == ("subscribed", "e1:1-1")
        assert first.json == {
            "channel": "sales", "position": "e1:1-1", "head": "e1:1-1", "live": True, "declared": True,
        }  # fmt: skip
        await publisher.publish("sales", 2)
        one, two = await stream.several(2)
        assert [each.event for each in (one, two)] == ["message", "message"]
        assert (one.id, two.id) == ("e1:2-2", "e1:2-3")
        assert one.json["position"] == "e1:2-2"
        assert one.json["channel"] == "sales"
        assert one.json["new"]["id"] == 2


async def test_line_ends_inside_json(node: RunningNode, publisher: Publisher) -> None:
    """As json_agg writes them. Every end that the format knows, and none that it does not."""
    async with events(node.url + "/sse/sales") as stream:
        await stream.next()
        payload = '[{"a":1},\r\n {"a":\u2028"2\u2028"}\r,\n3]'.replace("\u2028", "", 1)
        await publisher.publish("sales", [event(1, op="result", payload=payload)])
        sent = await stream.next()
        assert sent.json["payload"] == [{"a": 1}, {"a": "2\u2028"}, 3]


@pytest.mark.parametrize("by", ["since", "header", "both"])
async def test_resume(node: RunningNode, publisher: Publisher, by: str) -> None:
    for _ in range(3):
        await publisher.publish("sales", 2)
    query = {"since": "?since=e1:2-3", "header": "", "both": "?since=e1:0-0"}[by]
    headers = {} if by == "since" else {"Last-Event-ID": "e1:2-3"}
    async with events(node.url + "/sse/sales" + query, **headers) as stream:
        first = await stream.next()
        assert (first.event, first.json["recovered"], first.id) == ("subscribed", True, "e1:2-3")
        assert [each.id for each in await stream.several(3)] == ["e1:2-4", "e1:3-5", "e1:3-6"]


@pytest.mark.parametrize(("since", "reason"), [("e0:1-1", "epoch"), ("e1:1-1", "expired")])
async def test_a_position_that_is_gone(node: RunningNode, publisher: Publisher, since: str, reason: str) -> None:
    for _ in range(9):
        await publisher.publish("sales", 1, pad=1000, history=(3_600_000, 3_000))
    async with events(node.url + "/sse/sales", **{"Last-Event-ID": since}) as stream:
        first, reset = await stream.several(2)
        assert (first.event, first.json["recovered"], first.json["reason"]) == ("subscribed", False, reason)
        assert (reset.event, reset.id) == ("reset", "e1:9-9")
        assert reset.json == {"channel": "sales", "reason": reason, "position": "e1:9-9"}
        await publisher.publish("sales")
        assert (await stream.next()).id == "e1:10-10"


async def test_a_stream_that_stands_still(
    node: RunningNode, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "COMMENT_SECONDS", 0.05)
    await publisher.publish("sales")
    async with events(node.url + "/sse/sales") as stream:
        await stream.next()
        head = node.node.broker._followed["sales"].feed.head
        assert head is not None
        await asyncio.sleep(0.2)
        node.node.hub.standstill("sales", head, head)
        node.node.hub.standstill("sales", head, head)
        sent = await stream.next()
        assert (sent.event, sent.data, sent.id) == ("position", "", "e1:1-1")
        assert stream.comments >= 2


async def test_limits_and_origin(valkey: ValkeyServer, publisher: Publisher) -> None:
    async with running_node(valkey.url, max_connections_per_ip=1) as node, httpx.AsyncClient() as http:
        async with events(node.url + "/sse/sales", Origin=node.url) as stream:
            await stream.next()
            full = await http.get(node.url + "/sse/sales")
            assert (full.status_code, full.json()["error"]["code"]) == (429, "limit")
            refused = await http.get(node.url + "/sse/sales", headers={"Origin": "https://evil.example"})
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
            assert (await http.get(node.url + "/sse/sales", headers={"Origin": "null"})).status_code == 403
            metric = node.node.metrics.registry.get_sample_value
            assert metric("notifiws_node_connections", {"endpoint": "sse"}) == 1
            assert metric("notifiws_node_refused_total", {"reason": "limit"}) == 1
        await node.until(lambda: node.node.admission.count == 0)
        assert metric("notifiws_node_subscriptions") == 0
        head = await http.head(node.url + "/sse/sales")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"].startswith("text/event-stream")


async def test_who_does_not_read_is_cut(valkey: ValkeyServer, publisher: Publisher) -> None:
    async with running_node(valkey.url, send_buffer_bytes=100_000) as node:
        with socket.socket() as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.connect(("127.0.0.1", node.port))
            raw.sendall(b"GET /sse/sales HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            await node.until(lambda: len(node.node.clients) == 1)
            async with events(node.url + "/sse/sales") as other:
                await other.next()
                for _ in range(200):
                    await publisher.publish("sales", 1, pad=50_000)
                    await other.next()
                    if len(node.node.clients) == 1:
                        break
                assert len(node.node.clients) == 1
        metric = node.node.metrics.registry.get_sample_value
        assert metric("notifiws_node_slow_closes_total") == 1
        assert metric("notifiws_node_closes_total", {"code": "4409"}) == 1


async def test_a_drain_says_when_to_come_back(valkey: ValkeyServer, publisher: Publisher) -> None:
    async with running_node(valkey.url) as node, events(node.url + "/sse/sales") as stream:
        await stream.next()
        node.server.stop()
        sent = await stream.next()
        assert sent.event == "reconnect"
        assert sent.json["after_ms"] >= 0
        assert int(sent.retry or 0) >= 1
        with pytest.raises(StopAsyncIteration):
            await stream.next()


async def test_redis_away_is_waited_for(valkey: ValkeyServer, publisher: Publisher, node: RunningNode) -> None:
    await publisher.publish("sales")
    valkey.kill()
    try:
        await node.until(lambda: not node.node.readiness.ready)
        async with events(node.url + "/sse/sales") as stream:
            valkey.start()
            while True:
                with contextlib.suppress(ConnectionError):
                    await publisher.begin("sales")
                    break
                await asyncio.sleep(0.05)
            assert (await stream.next(20)).event == "subscribed"
            await publisher.publish("sales")
            assert (await stream.next()).event == "message"
    finally:
        if not valkey.accepting():
            valkey.start()


async def test_curl_shows_a_live_table(node: RunningNode, publisher: Publisher) -> None:
    process = await asyncio.create_subprocess_exec(
        "curl", "-sN", node.url + "/sse/sales", stdout=subprocess.PIPE
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(10):
            while b"subscribed" not in await process.stdout.readline():
                pass
            await publisher.publish("sales")
            while b'"new":{"id":1' not in await process.stdout.readline():
                pass
    finally:
        process.kill()
        await process.wait()
