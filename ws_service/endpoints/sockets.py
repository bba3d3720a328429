"""What both WebSocket endpoints share: who is let in, and the life of a connection around its conversation."""

import contextlib
import ipaddress
from collections.abc import AsyncIterator, Sequence
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from shared.codes import CloseCode
from shared.logs import logger
from ws_service.connection import AsgiConnection
from ws_service.node import Network, Node
from ws_service.protocol import EXTENSION

_log = logger("sockets")


def client_address(host: str | None, headers: Headers, networks: Sequence[Network]) -> str:
    """The client's own address: the last one in `X-Forwarded-For` that no trusted proxy has."""
    forwarded = ",".join(headers.getlist("x-forwarded-for")).split(",")
    address = host or "unknown"
    while networks and forwarded:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            break
        if not any(parsed in network for network in networks):
            break
        address = forwarded.pop().strip() or address
    return address


@contextlib.asynccontextmanager
async def admitted(
    websocket: WebSocket, node: Node, endpoint: str, subprotocol: str | None = None
) -> AsyncIterator[AsgiConnection | None]:
    """Accept the socket and give its connection; None when it was refused and closed."""
    client = websocket.client
    address = client_address(client.host if client else None, websocket.headers, node.proxies)
    await websocket.accept(subprotocol)
    if node.draining:
        node.metrics.refused.labels("draining").inc()
        await _close(websocket, CloseCode.RESTART, "this node is leaving; reconnect")
        yield None
        return
    full = node.admission.enter(address)
    if full is not None:
        node.metrics.refused.labels("limit").inc()
        await _close(websocket, CloseCode.LIMIT, full)
        yield None
        return
    connection = AsgiConnection(
        websocket.send,
        node.limits.send_buffer_bytes,
        websocket.scope.get("extensions", {}).get(EXTENSION),
        node.metrics.slow.inc,
    )
    node.metrics.connections.labels(endpoint).inc()
    try:
        yield connection
    except Exception:
        _log.exception("connection failed", endpoint=endpoint)
        connection.fail(CloseCode.INTERNAL, "internal error; reconnect and resume")
    finally:
        node.metrics.connections.labels(endpoint).dec()
        node.admission.leave(address)
        await connection.ended()


async def messages(websocket: WebSocket) -> AsyncIterator[Message]:
    """What the client sends, until it is gone."""
    while True:
        message: Any = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        yield message


async def _close(websocket: WebSocket, code: CloseCode, reason: str) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError):
        await websocket.close(int(code), reason)
