"""A page of a channel's kept events as an HTTP answer: bounded in size, in number under way, and in time.

However many ask and read nothing, they hold no more of the node than its slots of a megabyte each.
"""

import asyncio
import contextlib
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from shared.codes import ErrorCode, Lost
from shared.logs import logger
from shared.position import Position
from ws_service.broker import TooManyChannels
from ws_service.endpoints.sockets import client_address
from ws_service.errors import HttpError
from ws_service.feed import Feed
from ws_service.node import Node
from ws_service.protocol import CUT
from ws_service.resume import Past, Start, locate
from ws_service.retained import AWAY, Gone

# A page ends before it gets larger; `more` says so. One event that is larger goes alone.
PAGE_BYTES: Final = 1_000_000
_CHUNK_BYTES: Final = 65_536
_WAIT_SECONDS: Final = 3.0
# The whole answer, to whoever reads slowly; who reads nothing is cut earlier by the server.
_SEND_SECONDS: Final = 60.0
_LOST: Final = {
    Lost.EPOCH: "the position is of another epoch of the log",
    Lost.EXPIRED: "the position is older than what is kept",
    Lost.AHEAD: "the position is ahead of the log",
}
_log = logger("pages")


class EventsPage(Response):
    """Reads and sends the page when it is called, so that its slot is held from the first read to the last byte."""

    media_type = "application/json"

    def __init__(self, node: Node, channel: str, since: Position | None, limit: int) -> None:
        super().__init__(headers={"cache-control": "no-store"})
        self._node = node
        self._read = (node, channel, since, limit)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI. Raises HttpError before anything was sent."""
        pages, count = self._node.pages, self._node.metrics.pages
        client = scope.get("client")
        address = client_address(client[0] if client else None, Headers(scope=scope), self._node.proxies)
        full = pages.enter(address)
        if full is not None:
            count.labels("limit").inc()
            raise HttpError(429, ErrorCode.LIMIT, full, "read the answers, or try again later")
        try:
            try:
                async with asyncio.timeout(_WAIT_SECONDS + 3.0):
                    body = await _page(*self._read)
            except AWAY:
                raise unavailable() from None
            try:
                async with asyncio.timeout(_SEND_SECONDS):
                    await self._send(body, send)
                count.labels("sent").inc()
            except TimeoutError:
                count.labels("slow").inc()
                _log.warning("a peer does not read its page of events; cutting it", client=scope.get("client"))
                await _cut(scope, receive)
        finally:
            pages.leave(address)

    async def _send(self, body: bytes, send: Send) -> None:
        # Chunks, so that the server's flow control holds them back while the peer does not read.
        self.headers["content-length"] = str(len(body))
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for at in range(0, len(body), _CHUNK_BYTES):
            more = at + _CHUNK_BYTES < len(body)
            await send({"type": "http.response.body", "body": body[at : at + _CHUNK_BYTES], "more_body": more})


async def _cut(scope: Scope, receive: Receive) -> None:
    """End the connection, whatever it still holds."""
    cut: Any = scope.get("extensions", {}).get(CUT)
    if cut is None:
        raise TimeoutError("the peer does not read")
    cut()
    # Only then does the server know that this answer needs no end.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            while (await receive())["type"] != "http.disconnect":
                pass


async def _page(node: Node, channel: str, since: Position | None, limit: int) -> bytes:
    """The body of an events page: event objects as they were captured, byte by byte."""
    feed = follow(node, channel)
    loop = asyncio.get_running_loop()
    enough = loop.time() + _WAIT_SECONDS
    try:
        if since is None:
            async with asyncio.timeout(_WAIT_SECONDS):
                head = await feed.ready()
            start = Start(await node.retained.oldest(channel, head))
        else:
            start = await locate(feed, node.broker, node.retained, Past(since))
        if start.recovered is False:
            assert start.reason is not None
            raise HttpError(410, start.reason, _LOST[start.reason], "fetch afresh, then read without since")
        position, page = start.position, start.page
        pull = node.retained.forward(channel, position.epoch)
        found: list[bytes] = []
        size = 0
        while True:
            heard = feed.head if feed.head is not None and feed.head.epoch == position.epoch else None
            page = page or await pull.read(position, heard)
            for publication in page.publications:
                if publication.prev > position:
                    if position != since:  # a hole: the next request looks for what it holds, or says that it is gone
                        return _body(found, position, more=True)
                    break
                for event in publication.events(position):
                    if len(found) == limit:
                        return _body(found, position, more=True)
                    data = event.standalone(channel)
                    if found and size + len(data) > PAGE_BYTES:
                        return _body(found, position, more=True)
                    found.append(data)
                    size += len(data)
                    position = event.position
                position = max(position, publication.position)
            if page.last:
                return _body(found, position, more=False)
            if loop.time() > enough:
                # A stretch of the log with little of this channel: the position says how far this is all.
                return _body(found, position, more=True)
            page = None
    except Gone:
        raise HttpError(410, Lost.EXPIRED, _LOST[Lost.EXPIRED], "fetch afresh, then read without since") from None
    finally:
        node.broker.leave(feed)


def _body(events: list[bytes], position: Position, *, more: bool) -> bytes:
    tail = f'],"position":"{position}","more":{"true" if more else "false"}}}'
    return b"".join((b'{"events":[', b",".join(events), tail.encode()))


def follow(node: Node, channel: str) -> Feed:
    """Follow a channel, or refuse: 429. Undo it with `leave`."""
    try:
        return node.broker.join(channel)
    except TooManyChannels as error:
        node.metrics.refused.labels("channels").inc()
        raise HttpError(429, ErrorCode.LIMIT, str(error), TooManyChannels.fix) from None


def unavailable() -> HttpError:
    """Redis, or the log where it is needed, does not answer."""
    return HttpError(503, ErrorCode.UNAVAILABLE, "this node cannot read what is kept now", "try again in a moment")
