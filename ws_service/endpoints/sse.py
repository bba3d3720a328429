"""`GET /sse/{channel}`: server-sent events, for `EventSource`, curl and proxies that know no WebSocket.

The same feed, hub, bounds and drain as a plain WebSocket's. What EventSource cannot be told by a status, since it gives
up on one, it is told by an event: `reset` where a position cannot be resumed, `reconnect` when the node leaves.
"""

import asyncio
from collections.abc import MutableMapping
from typing import Annotated, Any, Final, cast

import msgspec
from fastapi import APIRouter, Header, Query
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from shared.channel import BadChannel, check_channel
from shared.codes import CloseCode, ErrorCode, Lost
from shared.logs import logger
from shared.position import BadPosition, Position
from shared.tasks import end
from ws_service.connection import AsgiConnection
from ws_service.endpoints.pages import follow
from ws_service.endpoints.parameters import takes
from ws_service.endpoints.sockets import client_address
from ws_service.errors import HttpError
from ws_service.feed import Feed
from ws_service.frames import server_sent
from ws_service.groups import ServerSent
from ws_service.methods import BODILESS
from ws_service.node import Node
from ws_service.protocol import CUT
from ws_service.resume import Past, catch_up, locate_patiently

COMMENT_SECONDS: Final = 15.0
# How long EventSource waits before it comes back from a cut; a leaving node says its own.
_RETRY_MS: Final = 1_000
_SHAPE: Final = ServerSent()
_log = logger("sse")


def router(node: Node) -> APIRouter:
    """The endpoint, for this node."""
    routes = APIRouter()

    @routes.get(
        "/sse/{channel}",
        summary="The channel as server-sent events",
        dependencies=[takes("since")],
        responses={200: {"description": "an endless stream", "content": {"text/event-stream": {}}}},
    )
    async def sse(
        channel: str,
        since: Annotated[str | None, Query(description="a position to begin after; Last-Event-ID wins over it")] = None,
        last_event_id: Annotated[str | None, Header(description="the position that was received last")] = None,
    ) -> Response:
        try:
            check_channel(channel)
            # EventSource comes back with the URL that it was made with.
            position = Position.parse(last_event_id or since) if last_event_id or since is not None else None
        except BadChannel as error:
            raise HttpError(400, ErrorCode.BAD_CHANNEL, str(error), "/channels lists those there are") from None
        except BadPosition as error:
            fix = "send the `id:` of an event, unchanged; without one: from now on"
            raise HttpError(400, ErrorCode.BAD_POSITION, str(error), fix) from None
        return Stream(node, channel, position)

    return routes


class Stream(Response):
    """The endless answer. Counted, bounded and drained as a socket is."""

    media_type = "text/event-stream"

    def __init__(self, node: Node, channel: str, since: Position | None) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._node = node
        self._channel = channel
        self._since = since

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI. Raises HttpError before anything was sent."""
        node, client = self._node, scope.get("client")
        address = client_address(client[0] if client else None, Headers(scope=scope), node.proxies)
        if scope.get(BODILESS) or node.draining:
            # Another node answers when it comes back; a status would make EventSource give up.
            body = b"" if scope.get(BODILESS) else reconnect(0)
            node.metrics.refused.labels("draining").inc(node.draining)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": body})
            return
        full = node.admission.enter(address)
        if full is not None:
            node.metrics.refused.labels("limit").inc()
            raise HttpError(429, ErrorCode.LIMIT, full, "close some, or try again later")
        node.metrics.connections.labels("sse").inc()
        connection = feed = None
        try:
            feed = follow(node, self._channel)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            cut = scope.get("extensions", {}).get(CUT)
            connection = EventConnection(send, node.limits.send_buffer_bytes, cut, node.metrics.slow.inc)
            await Listener(node, connection, feed).hold(receive, self._since)
        finally:
            node.metrics.connections.labels("sse").dec()
            node.admission.leave(address)
            if feed is not None:
                node.broker.leave(feed)
            if connection is not None:
                await connection.ended()


class EventConnection(AsgiConnection):
    """A connection behind an HTTP answer. A close ends the answer; who does not read is cut."""

    def __init__(self, send: Send, limit: int, cut: Any, on_slow: Any) -> None:
        async def body(message: MutableMapping[str, Any]) -> None:
            more = message["type"] == "websocket.send"
            await send({"type": "http.response.body", "body": message.get("text", "").encode(), "more_body": more})

        super().__init__(body, limit, None if cut is None else lambda code, reason: cut(), on_slow)

    async def _finish(self, code: CloseCode, reason: str) -> None:
        """The last chunk: EventSource comes back by itself."""
        await self._send({"type": "websocket.close"})


class Listener:
    """One stream: the hub's member for its channel."""

    def __init__(self, node: Node, connection: EventConnection, feed: Feed) -> None:
        self.connection = connection
        self._node = node
        self._feed = feed
        self._channel = feed.channel
        self._comment: asyncio.TimerHandle | None = None

    @property
    def wanted(self) -> bool:
        """Whether events may still be delivered."""
        return self.connection.open

    def reset(self, reason: Lost, position: Position) -> None:
        """Tell the client that history is broken."""
        body = {"channel": self._channel, "reason": reason, "position": str(position)}
        self.connection.write((server_sent("reset", msgspec.json.encode(body), position),))

    def farewell(self, after_ms: int) -> None:
        """Say that the node goes away, to the page and to EventSource itself."""
        self.connection.write((reconnect(after_ms),))

    def dropped(self, channel: str) -> None:
        """A live query was. EventSource would only come back: it stays, and hears when it is declared again."""

    async def hold(self, receive: Receive, since: Position | None) -> None:
        """Until the client is gone."""
        self._node.enter(self)
        task = asyncio.create_task(self._follow(since), name="sse")
        self._schedule()
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            if self._comment is not None:
                self._comment.cancel()
            await end(task)
            self._node.leave(self, self.connection.close_code)

    def _schedule(self) -> None:
        self._comment = asyncio.get_running_loop().call_later(COMMENT_SECONDS, self._say_something)

    def _say_something(self) -> None:
        """Proxies end what is silent, and a peer that is gone without a word is noticed by what is sent to it."""
        self.connection.write((b": \n\n",))
        self._schedule()

    async def _follow(self, since: Position | None) -> None:
        """Lives as long as the connection."""
        node, feed, past = self._node, self._feed, Past(since)
        node.metrics.subscriptions.inc()
        try:
            # While Redis is away the client, which would give up on a status, waits as it is.
            start = await locate_patiently(feed, node.broker, node.retained, past)
            declared = await node.broker.is_declared(self._channel)
            head = feed.head
            if head is None or (head.epoch == start.position.epoch and head < start.position):
                head = start.position
            body: dict[str, Any] = {
                "channel": self._channel,
                "position": str(start.position),
                "head": str(head),
                "live": True,
                "declared": declared,
            }
            if past.wanted:
                node.metrics.resumes.labels("recovered" if start.recovered else str(start.reason)).inc()
                body["recovered"] = start.recovered
                if start.reason is not None:
                    body["reason"] = start.reason
            message = server_sent("subscribed", msgspec.json.encode(body), start.position, _RETRY_MS)
            self.connection.write((message,))
            if start.recovered is False:
                self.reset(cast(Lost, start.reason), start.position)
            await catch_up(feed, node.retained, node.hub, shape=_SHAPE, member=self, start=start)
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            raise
        except Exception:
            _log.exception("stream failed", channel=self._channel)
            self.connection.close(CloseCode.INTERNAL, "internal error; reconnect")
        finally:
            node.hub.detach(self._channel, _SHAPE, self)
            node.metrics.subscriptions.dec()


def reconnect(after_ms: int) -> bytes:
    """The node goes away; come back, to another, after this time."""
    return server_sent("reconnect", msgspec.json.encode({"after_ms": after_ms}), None, max(after_ms, 1))
