"""Paths and methods of a node, those it has and those it has not, with and without the dashboard."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from notifiws.stack.valkey import ValkeyServer
from tests.nodes import RunningNode, running_node
from tests.publishing import Publisher

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture(params=["bare", "dashboard"])
async def node(request: pytest.FixtureRequest, valkey: ValkeyServer, tmp_path: Path) -> AsyncIterator[RunningNode]:
    (tmp_path / "index.html").write_text("<p>the dashboard</p>")
    (tmp_path / "404.html").write_text("<p>no such page</p>")
    async with Redis.from_url(valkey.url) as client:
        await Publisher(client).begin("sales")
        folder = tmp_path if request.param == "dashboard" else None
        async with running_node(valkey.url, dashboard_dir=folder, allowed_origins="http://localhost:*") as node:
            yield node


@pytest.fixture
async def http(node: RunningNode) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=node.url) as client:
        yield client


def with_dashboard(node: RunningNode) -> bool:
    return node.node.settings.dashboard_dir is not None


async def test_unknown_paths(node: RunningNode, http: httpx.AsyncClient) -> None:
    elsewhere = ("/nope", "/nope.html", "/redoc")
    for path in (
        *elsewhere,
        *("/channels/", "/channels/sales", "/channels/sales/events/", "/channels/a/b/c", "/ws/sales", "/ws/"),
        *("/sse", "/sse/", "/tickets/", "/healthz/", "/readyz/x", "/metrics/", "/docs/"),
    ):
        for accept in ({}, BROWSER):
            answer = await http.get(path, headers=accept)
            assert answer.status_code == 404, path
            if with_dashboard(node) and accept and path in elsewhere:
                assert "no such page" in answer.text
                assert "default-src 'none'" in answer.headers["content-security-policy"]
            else:
                error = answer.json()["error"]
                assert error["code"] == "not_found" and error["message"] and error["fix"]


async def test_head_is_get_without_the_body(http: httpx.AsyncClient) -> None:
    for path in (
        *("/channels", "/channels/sales/events", "/channels/NO/events", "/channels/sales/snapshot", "/metrics"),
        *("/healthz", "/readyz", "/docs", "/openapi.json", "/asyncapi.json", "/sse/NO", "/ws", "/nope", "/"),
    ):
        got, head = await http.get(path), await http.head(path)
        assert (path, head.status_code, head.content) == (path, got.status_code, b"")
        assert head.headers["content-type"] == got.headers["content-type"]


async def test_wrong_methods(node: RunningNode, http: httpx.AsyncClient) -> None:
    for method, path, allow in (
        ("POST", "/channels", "GET, HEAD"),
        ("DELETE", "/channels/sales/events", "GET, HEAD"),
        ("POST", "/channels/sales/snapshot", "GET, HEAD"),
        ("PUT", "/healthz", "GET, HEAD"),
        ("POST", "/metrics", "GET, HEAD"),
        ("POST", "/docs", "GET, HEAD"),
        ("OPTIONS", "/channels", "GET, HEAD"),
        ("GET", "/tickets", "POST"),
        ("HEAD", "/tickets", "POST"),
        ("PUT", "/tickets", "POST"),
    ):
        answer = await http.request(method, path)
        assert (path, answer.status_code, answer.headers["allow"]) == (path, 405, allow)
        if method != "HEAD":
            error = answer.json()["error"]
            assert error["code"] == "not_found" and method in error["message"] and error["fix"]
    page = await http.post("/")
    assert page.status_code == (405 if with_dashboard(node) else 404)
    assert page.headers.get("allow") == ("GET, HEAD" if with_dashboard(node) else None)
    assert (await http.post("/nope", headers=BROWSER)).json()["error"]["code"] == "not_found"


async def test_targets_that_are_no_usual_paths(http: httpx.AsyncClient) -> None:
    for target in (b"*", b"//metrics", b"/%00", b"/channels%00", b"/" + b"a" * 300, b"//"):
        for method in ("GET", "OPTIONS"):
            answer = await http.request(method, "/", extensions={"target": target})
            assert answer.status_code < 500, target


async def refused_socket(url: str, subprotocol: str | None) -> tuple[int | None, str]:
    async with connect(url, subprotocols=[Subprotocol(subprotocol)] if subprotocol else None) as socket:
        # A browser reads no close code of a handshake that left its subprotocols unanswered.
        assert socket.subprotocol == subprotocol
        with pytest.raises(ConnectionClosed):
            await socket.recv()
    return socket.close_code, str(socket.close_reason)


async def test_sockets_on_unknown_paths(node: RunningNode) -> None:
    for path in ("/nope", "/", "/channels", "/channels/sales/events", "/healthz"):
        for subprotocol in (None, "notifiws.v1"):
            code, reason = await refused_socket(node.ws + path, subprotocol)
            assert (path, code) == (path, 4400)
            assert "/ws" in reason


async def test_a_refused_token_closes_with_its_code_for_browsers_too(node: RunningNode) -> None:
    assert (await refused_socket(node.ws + "/ws?token=x", "notifiws.v1"))[0] == 4401


async def test_probes_are_free_of_the_host_check_alone(http: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await http.get(path, headers={"Host": "anything"})).status_code == 200
        answer = await http.get(path, params={"jwt": "1"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated")
