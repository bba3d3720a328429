"""Clients that send or ask much and read nothing: the node's memory stays bounded, and they are cut off."""

import asyncio
import contextlib
import socket

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from notifiws.stack.valkey import ValkeyServer
from tests.nodes import RunningNode, running_node
from tests.publishing import Publisher

_UPGRADE = (
    b"GET /ws/sales HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_PING = b"\x89\xfd\0\0\0\0" + b"x" * 125


async def small_socket(node: RunningNode, address: str = "127.0.0.1") -> socket.socket:
    """Connected, and the kernel takes little of what is not read."""
    small = socket.socket()
    small.bind((address, 0))
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    small.setblocking(False)
    await asyncio.get_running_loop().sock_connect(small, ("127.0.0.1", node.port))
    return small


def buffered(node: RunningNode) -> int:
    """Bytes that wait in the transports of all connections."""
    return sum(
        connection.transport.get_write_buffer_size()  # type: ignore[union-attr]
        for connection in node.server.server_state.connections
    )


async def test_pings_without_reading_are_bounded_and_end(node: RunningNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ws_service.protocol.uvicorn._GRACE_SECONDS", 0.3)
    loop = asyncio.get_running_loop()
    sock = await small_socket(node)
    with sock:
        await loop.sock_sendall(sock, _UPGRADE)
        await node.until(lambda: node.node.clients)
        most = 0
        with pytest.raises((ConnectionError, TimeoutError)):
            async with asyncio.timeout(10):
                for _ in range(600):  # 20 MB
                    async with asyncio.timeout(3):
                        await loop.sock_sendall(sock, _PING * 256)
                    most = max(most, buffered(node))
        assert most < 500_000
    await node.until(lambda: not node.node.clients and not node.server.server_state.connections, 5)


async def test_answers_to_pings_wait_for_the_reader(node: RunningNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many a client may send: who does not read gets the last answer alone, later."""
    monkeypatch.setattr("ws_service.protocol.uvicorn._CONTROL_FRAMES_PER_SECOND", 1e9)
    loop = asyncio.get_running_loop()
    sock = await small_socket(node)
    with sock:
        await loop.sock_sendall(sock, _UPGRADE)
        await node.until(lambda: node.node.clients)
        for _ in range(300):  # 10 MB
            await loop.sock_sendall(sock, _PING * 256)
            assert buffered(node) < 500_000
        await loop.sock_sendall(sock, b"\x89\x84\0\0\0\0last")
        received = bytearray()
        async with asyncio.timeout(10):
            while not received.endswith(b"\x8a\x04last"):
                received += await loop.sock_recv(sock, 65_536)
        assert len(received) < 10_000_000


@pytest.mark.parametrize("frames", [_PING, b"\x8a\x80\0\0\0\0", b"\x00\x80\0\0\0\0"])
async def test_a_flood_of_control_frames_is_told_4429(
    node: RunningNode, frames: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ws_service.protocol.uvicorn._GRACE_SECONDS", 0.3)
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    writer.write(_UPGRADE)
    await reader.readuntil(b"\r\n\r\n")
    if frames[0] == 0:
        writer.write(b"\x01\x80\0\0\0\0")
    writer.write(frames * 1000)
    received = bytearray()
    async with asyncio.timeout(10):
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(65_536):
                received += chunk
    assert b"\x11\x4dtoo many control frames" in received
    writer.close()
    await node.until(lambda: node.node.metrics.closes.labels("4429")._value.get() == 1)


@pytest.mark.parametrize("close", [True, False])
async def test_who_leaves_without_reading_is_not_kept(
    node: RunningNode, publisher: Publisher, monkeypatch: pytest.MonkeyPatch, close: bool
) -> None:
    """A close frame, or an end of the stream, behind which the peer takes nothing any more."""
    monkeypatch.setattr("ws_service.protocol.uvicorn._GRACE_SECONDS", 0.3)
    loop = asyncio.get_running_loop()
    sock = await small_socket(node)
    with sock:
        await loop.sock_sendall(sock, _UPGRADE)
        await node.until(lambda: node.node.hub._channels)
        for _ in range(40):
            await publisher.publish("sales", pad=100_000)
        await node.until(lambda: buffered(node) > 50_000)
        if close:
            await loop.sock_sendall(sock, b"\x88\x80\0\0\0\0")
        else:
            sock.shutdown(socket.SHUT_WR)
        await node.until(lambda: not node.server.server_state.connections, 5)


async def test_a_busy_client_with_its_own_pings_stays(node: RunningNode) -> None:
    async with connect(node.ws + "/ws/sales", compression=None) as client:
        for _ in range(300):
            async with asyncio.timeout(5):
                await (await client.ping())
        assert node.node.clients
        with pytest.raises(ConnectionClosed):
            await client.close()
            await client.recv()


@pytest.mark.parametrize("patience", ["endpoints.pages._SEND_SECONDS", "protocol.uvicorn_http._STALL_SECONDS"])
async def test_pages_that_nobody_reads_are_few_and_cut(
    node: RunningNode, publisher: Publisher, monkeypatch: pytest.MonkeyPatch, patience: str
) -> None:
    loop = asyncio.get_running_loop()
    await publisher.publish("sales", pad=6_000_000)  # more than the kernel takes
    path = "/channels/sales/events?limit=1000"
    assert (await node.get(path)).status_code == 200
    monkeypatch.setattr(f"ws_service.{patience}", 3.0)
    with contextlib.ExitStack() as sockets:
        for number in range(40):
            sock = sockets.enter_context(await small_socket(node, f"127.0.0.{2 + number // 8}"))
            await loop.sock_sendall(sock, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        pages = node.node.metrics.pages
        await node.until(lambda: pages.labels("limit")._value.get() == 8)
        assert node.node.pages.count == 32
        refused = await node.get(path)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "limit")
        assert refused.json()["error"]["fix"]
        await node.until(lambda: buffered(node) > 32 * 50_000)
        assert buffered(node) < 32 * 200_000
        await node.until(lambda: not node.node.pages.count, 8)
        await node.until(lambda: not buffered(node))
        assert (await node.get(path)).status_code == 200


async def test_one_address_leaves_pages_for_others(node: RunningNode, publisher: Publisher) -> None:
    loop = asyncio.get_running_loop()
    await publisher.publish("sales", pad=6_000_000)
    path = "/channels/sales/events"
    with contextlib.ExitStack() as sockets:
        for _ in range(20):
            sock = sockets.enter_context(await small_socket(node, "127.0.0.2"))
            await loop.sock_sendall(sock, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        await node.until(lambda: node.node.metrics.pages.labels("limit")._value.get() == 12)
        assert (await node.get(path)).status_code == 200


async def test_channels_that_a_node_follows_are_bounded(valkey: ValkeyServer, publisher: Publisher) -> None:
    """What nobody follows any more makes room; beyond that, each door says `limit`."""
    async with running_node(valkey.url, max_channels=3) as node, node.v1() as client:
        for number in range(3):
            answer = await client.ask(type="subscribe", id=number, channel=f"c{number}")
            assert answer["type"] == "subscribed"
        answer = await client.ask(type="subscribe", id=3, channel="c3")
        assert (answer["id"], answer["code"]) == (3, "limit")
        assert "NOTIFIWS_MAX_CHANNELS" in answer["fix"]
        for path in ("/channels/c3/events", "/sse/c3"):
            refused = await node.get(path)
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "limit")
        async with node.plain("c3") as plain:
            await plain.wait_closed()
            assert plain.close_code == 4429
        assert (await node.get("/channels/c1/events")).status_code == 200
        metric = node.node.metrics.registry.get_sample_value
        assert metric("notifiws_node_channels") == 3
        assert metric("notifiws_node_refused_total", {"reason": "channels"}) == 4
        assert (await client.ask(type="unsubscribe", id=5, channel="c1"))["type"] == "unsubscribed"
        assert (await client.ask(type="subscribe", id=6, channel="c3"))["type"] == "subscribed"
        assert metric("notifiws_node_channels") == 3
        assert node.node.admission.count == 1
