"""HTTP on a node from outside."""

import json
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis

from notifiws.stack.valkey import ValkeyServer
from tests.nodes import RunningNode, running_node
from tests.publishing import Publisher, event, ids


@pytest.fixture
async def publisher(valkey: ValkeyServer) -> AsyncIterator[Publisher]:
    async with Redis.from_url(valkey.url) as client:
        publisher = Publisher(client)
        await publisher.begin("sales", "stock")
        yield publisher


@pytest.fixture
async def node(valkey: ValkeyServer, publisher: Publisher) -> AsyncIterator[RunningNode]:
    async with running_node(valkey.url, allowed_origins="http://localhost:*") as node:
        yield node


async def test_health(node: RunningNode, publisher: Publisher) -> None:
    assert (await node.get("/healthz", headers={"Host": "anything"})).status_code == 200
    async with httpx.AsyncClient(base_url=node.url) as client:
        assert (await client.head("/healthz")).status_code == (await client.head("/readyz")).status_code == 200
    ready = await node.get("/readyz", headers={"Host": "anything"})
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "version": version("notifiws"), "reasons": []})
    await publisher.beat()
    async with node.v1() as client:
        await client.ask(type="subscribe", id=1, channel="sales")
        text = (await node.get("/metrics", headers={"Host": "anything"})).text
        assert 'notifiws_node_connections{endpoint="v1"} 1.0' in text
        assert "notifiws_node_subscriptions 1.0" in text
        assert "notifiws_node_relay_lag_seconds 0.25" in text


async def test_channels(node: RunningNode) -> None:
    assert (await node.get("/channels")).json() == {"channels": [{"channel": "sales"}, {"channel": "stock"}]}


async def test_pages_hold_everything_once(node: RunningNode, publisher: Publisher) -> None:
    for count in (3, 1, 5, 2):
        await publisher.publish("sales", count)
    for limit in (1, 2, 3, 4, 10, 11, 12, 1000):
        seen: list[int] = []
        query: dict[str, str | int] = {"limit": limit}
        while True:
            page = (await node.get("/channels/sales/events", params=query)).json()
            assert len(page["events"]) <= limit
            seen += ids(page["events"])
            if page["events"]:
                assert page["events"][-1]["position"] == page["position"]
            query["since"] = page["position"]
            if not page["more"]:
                break
            assert len(page["events"]) == limit
        assert seen == list(range(1, 12))
        empty = (await node.get("/channels/sales/events", params=query)).json()
        assert empty == {"events": [], "position": page["position"], "more": False}
    assert (await node.get("/channels/never/events")).json() == {"events": [], "position": "e1:0-0", "more": False}


async def test_a_page_that_ends_at_a_hole_is_not_the_last(node: RunningNode, publisher: Publisher) -> None:
    """Who reads until there is no more would otherwise take it for everything."""
    first, lost, _ = [await publisher.publish("sales") for _ in range(3)]
    await publisher.client.xdel(publisher.keys.stream("sales", first.epoch), lost.entry_id)
    page = (await node.get("/channels/sales/events")).json()
    assert (ids(page["events"]), page["position"], page["more"]) == ([1], str(first), True)
    answer = await node.get("/channels/sales/events", params={"since": page["position"]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "expired")


async def test_a_page_ends_before_a_megabyte_or_with_one_larger_event(node: RunningNode, publisher: Publisher) -> None:
    for pad in (300_000, 300_000, 300_000, 300_000, 2_000_000, 10, 10, 990_000):
        await publisher.publish("sales", pad=pad)
    seen: list[list[int]] = []
    query: dict[str, str | int] = {"limit": 1000}
    more = True
    while more:
        answer = await node.get("/channels/sales/events", params=query)
        assert int(answer.headers["content-length"]) == len(answer.content)
        assert answer.headers["content-type"] == "application/json"
        page = answer.json()
        assert len(answer.content) < 1_001_000 or len(page["events"]) == 1
        seen.append(ids(page["events"]))
        query["since"], more = page["position"], page["more"]
    assert seen == [[1, 2, 3], [4], [5], [6, 7, 8]]


async def test_events_are_the_bytes_that_were_captured(node: RunningNode, publisher: Publisher) -> None:
    new = '{"n": 1234567890123456789012345678901234567890.10, "t": "\\"\\u0001ñ😀"}'
    await publisher.publish("sales", [event(1, new=new)])
    assert f'"new":{new},' in (await node.get("/channels/sales/events")).text


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/channels/NO/events", 400, "bad_channel"),
        ("/channels/sales/events?since=17", 400, "bad_position"),
        ("/channels/sales/events?since=", 400, "bad_position"),
        ("/channels/sales/events?limit=0", 400, "bad_field"),
        ("/channels/sales/events?limit=1001", 400, "bad_field"),
        ("/channels/sales/events?limit=x", 400, "bad_field"),
        ("/channels/sales/events?since=e0:1-1", 410, "epoch"),
        ("/channels/sales/events?filter={}", 501, "unsupported"),
        ("/channels/sales/events?limit=1&filter=&foo=1", 501, "unsupported"),
        ("/channels?filter={}", 501, "unsupported"),
        ("/channels/sales/events?ticket=x&filter={}", 401, "unauthenticated"),
        ("/channels?ticket=", 401, "unauthenticated"),
        ("/channels/sales/events?ops=insert", 400, "bad_field"),
        ("/channels/sales/events?foo", 400, "bad_field"),
        ("/channels?limit=1", 400, "bad_field"),
        ("/channels/sales/events?limit=1&limit=2", 400, "bad_field"),
        ("/channels/sales/events?since=e1:0-0&since=e1:0-0", 400, "bad_field"),
        ("/channels/sales/snapshot", 501, "unsupported"),
        ("/sse/sales?since=17", 400, "bad_position"),
        ("/sse/sales?since=", 400, "bad_position"),
        ("/sse/NO", 400, "bad_channel"),
        ("/sse/sales?ops=insert", 400, "bad_field"),
        ("/sse/sales?filter={}", 501, "unsupported"),
        ("/sse/sales?ticket=x", 401, "unauthenticated"),
        ("/sse/sales?token=x", 401, "unauthenticated"),
        ("/asyncapi.json", 501, "unsupported"),
        ("/nothing", 404, "not_found"),
        ("/", 404, "not_found"),
        ("/channels?token=x", 401, "unauthenticated"),
        ("/channels/sales/events?access_token=x", 401, "unauthenticated"),
    ],
)
async def test_errors(node: RunningNode, path: str, status: int, code: str) -> None:
    answer = await node.get(path)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert error["message"] and error["fix"]


async def test_a_refused_parameter_is_named(node: RunningNode) -> None:
    for query in ("foo=1", "limit=1&foo=1&foo=2"):
        error = (await node.get(f"/channels/sales/events?{query}")).json()["error"]
        assert "'foo'" in error["message"] and "since, limit" in error["fix"]
    twice = (await node.get("/channels/sales/events?limit=1&limit=1")).json()["error"]
    assert "'limit'" in twice["message"] and "twice" in twice["message"]


async def test_what_is_not_built_is_refused(node: RunningNode) -> None:
    async with httpx.AsyncClient(base_url=node.url) as client:
        answer = await client.post("/tickets")
        assert (answer.status_code, answer.json()["error"]["code"]) == (501, "unsupported")
        assert (await client.post("/channels")).status_code == 405


async def test_host_and_cors(node: RunningNode) -> None:
    assert (await node.get("/channels", headers={"Host": "evil.example"})).status_code == 403
    page = {"Origin": "http://localhost:3000"}
    assert (await node.get("/channels", headers=page)).headers["access-control-allow-origin"] == page["Origin"]
    evil = await node.get("/channels", headers={"Origin": "http://evil.example"})
    assert "access-control-allow-origin" not in evil.headers


async def test_preflights(node: RunningNode) -> None:
    page = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "GET"}
    async with httpx.AsyncClient(base_url=node.url) as client:
        granted = await client.options("/channels", headers={**page, "Access-Control-Request-Headers": "authorization"})
        assert (granted.status_code, granted.headers["access-control-allow-origin"]) == (200, page["Origin"])
        for changed, status, code in (
            ({"Origin": "http://evil.example"}, 403, "forbidden"),
            ({"Origin": "null"}, 403, "forbidden"),
            ({"Access-Control-Request-Method": "DELETE"}, 400, "bad_field"),
            ({"Access-Control-Request-Headers": "x-any"}, 400, "bad_field"),
        ):
            refused = await client.options("/channels", headers={**page, **changed})
            error = refused.json()["error"]
            assert (changed, refused.status_code, error["code"]) == (changed, status, code)
            assert error["message"] and error["fix"]
            assert refused.headers.get("access-control-allow-origin") in (None, page["Origin"])


async def test_docs(node: RunningNode) -> None:
    assert (await node.get("/docs")).status_code == 200
    assert "/channels/{channel}/events" in (await node.get("/openapi.json")).json()["paths"]


async def test_dashboard(valkey: ValkeyServer, publisher: Publisher, tmp_path: Path) -> None:
    async with running_node(valkey.url, dashboard_dir=tmp_path / "out") as node:
        waiting = await node.get("/")
        assert "being built" in waiting.text
        assert waiting.headers["cache-control"] == "no-store"
        (tmp_path / "out").mkdir()
        (tmp_path / "out/index.html").write_text("<script>let a=1</script><script src='/a.js'></script>")
        (tmp_path / "out/a.js").write_text("1")
        page = await node.get("/")
        assert "let a=1" in page.text
        policy = page.headers["content-security-policy"]
        assert "'sha256-" in policy and "default-src 'none'" in policy
        assert "unsafe-inline" not in policy.split("style-src")[0]
        assert page.headers["x-content-type-options"] == "nosniff"
        assert (await node.get("/a.js")).headers["x-content-type-options"] == "nosniff"
        missing = await node.get("/nope.js")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
        assert (await node.get("/channels")).json()["channels"]
        for path in ("/..%2f..%2fetc/passwd", "/%2e%2e/a"):
            assert (await node.get(path)).status_code == 404
    assert json.loads(missing.text)
