"""What both WebSocket endpoints share: who is let in, and the life of a connection around its conversation."""

import contextlib
import ipaddress
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from shared.codes import CloseCode
from shared.logs import logger
from ws_service.connection import AsgiConnection
from ws_service.node import Network, Node
from ws_service.protocol import EXTENSION, FLOODED

_log = logger("sockets")
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_BRACKETS: Final = re.compile(r"\[([^\]]*)\](?::[0-9]{1,5})?").fullmatch
_PORT: Final = re.compile(r"([0-9.]+):[0-9]{1,5}").fullmatch


def client_address(host: str | None, headers: Headers, networks: Sequence[Network]) -> str:
    """Whom a connection counts for: the last address in `X-Forwarded-For` that no trusted proxy has.

    IPv6 counts by its /64, of which one host has every address. An entry that is no address counts as the proxy that
    wrote it.
    """
    address = _parse(host or "")
    if address is None:
        return host or "unknown"
    forwarded = ",".join(headers.getlist("x-forwarded-for")).split(",") if networks else []
    while forwarded and any(address in network for network in networks):
        before = _parse(forwarded.pop())
        if before is None:
            break
        address = before
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _parse(text: str) -> _Address | None:
    """The address in `address`, `address:port`, `[address]` or `[address]:port`; IPv4 inside IPv6 is IPv4."""
    match = _BRACKETS(text.strip()) or _PORT(text.strip())
    try:
        address = ipaddress.ip_address((match[1] if match else text).strip())
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@contextlib.asynccontextmanager
async def admitted(
    websocket: WebSocket, node: Node, endpoint: str, subprotocol: str | None = None, *, accept: bool = True
) -> AsyncIterator[AsgiConnection | None]:
    """Accept the socket and give its connection; None when it was refused and closed.

    Without `accept` whoever asked accepts it, once it has prepared what the client may rely on from then on.
    """
    client = websocket.client
    address = client_address(client.host if client else None, websocket.headers, node.proxies)
    if node.draining:
        node.metrics.refused.labels("draining").inc()
        await websocket.accept(subprotocol)
        await _close(websocket, CloseCode.RESTART, "this node is leaving; reconnect")
        yield None
        return
    full = node.admission.enter(address)
    if full is not None:
        node.metrics.refused.labels("limit").inc()
        await websocket.accept(subprotocol)
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
        if accept:
            await websocket.accept(subprotocol)
        yield connection
    except Exception:
        _log.exception("connection failed", endpoint=endpoint)
        connection.fail(CloseCode.INTERNAL, "internal error; reconnect and resume")
    finally:
        if FLOODED in websocket.scope.get("extensions", {}) and connection.close_code is None:
            node.metrics.closes.labels(str(int(CloseCode.LIMIT))).inc()
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
