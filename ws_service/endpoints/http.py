"""Channels and their kept events over HTTP, and what this release refuses."""

import asyncio
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import Response

from shared.channel import BadChannel, check_channel
from shared.codes import ErrorCode, Lost
from shared.position import BadPosition, Position
from ws_service.errors import HttpError
from ws_service.node import Node
from ws_service.redis_link import REDIS_ERRORS
from ws_service.resume import Past, Start, locate

_MOST_EVENTS: Final = 1_000
# A page ends early past this size; `more` says so.
_PAGE_BYTES: Final = 8_000_000
_WAIT_SECONDS: Final = 3.0
_LOST: Final = {
    Lost.EPOCH: "the position is of another epoch of the log",
    Lost.EXPIRED: "the position is older than what is kept",
    Lost.AHEAD: "the position is ahead of the log",
}


def router(node: Node) -> APIRouter:
    """The endpoints, for this node."""
    routes = APIRouter()

    @routes.get("/channels", summary="The channels that something writes to")
    async def channels() -> Response:
        if node.broker.epoch is None:
            raise _unavailable()
        listed = [{"channel": channel} for channel in sorted(node.broker.declared)]
        return _json(msgspec.json.encode({"channels": listed}))

    @routes.get("/channels/{channel}/events", summary="A page of the channel's kept events")
    async def events(
        channel: str,
        since: Annotated[str | None, Query(description="a position; without it: the oldest that is kept")] = None,
        limit: Annotated[int, Query(ge=1, le=_MOST_EVENTS)] = 100,
    ) -> Response:
        try:
            check_channel(channel)
            position = None if since is None else Position.parse(since)
        except BadChannel as error:
            raise HttpError(400, ErrorCode.BAD_CHANNEL, str(error)) from None
        except BadPosition as error:
            raise HttpError(400, ErrorCode.BAD_POSITION, str(error)) from None
        try:
            async with asyncio.timeout(_WAIT_SECONDS + 3.0):
                return _json(await _page(node, channel, position, limit))
        except REDIS_ERRORS:
            raise _unavailable() from None

    def refuse(what: str, fix: str) -> Any:
        async def refused() -> Response:
            raise HttpError(501, ErrorCode.UNSUPPORTED, f"{what} not supported in this release", fix)

        return refused

    for method, path, what, fix in (
        ("GET", "/channels/{channel}/snapshot", "snapshots are", "read the table, then subscribe"),
        ("GET", "/sse/{channel}", "server-sent events are", "use the WebSocket /ws/{channel}"),
        ("POST", "/tickets", "tickets are", "connect without one"),
        ("GET", "/asyncapi.json", "the AsyncAPI description is", "see docs/protocol.md"),
    ):
        routes.add_api_route(path, refuse(what, fix), methods=[method], include_in_schema=False)
    return routes


async def _page(node: Node, channel: str, since: Position | None, limit: int) -> bytes:
    """The body of an events page: event objects as they were captured, byte by byte."""
    feed = node.broker.join(channel)
    try:
        if since is None:
            async with asyncio.timeout(_WAIT_SECONDS):
                head = await feed.ready()
            oldest = await node.history.first(channel, head.epoch)
            start = Start(head if oldest is None else oldest.prev)
        else:
            start = await locate(feed, node.broker, node.history, Past(since))
        if start.recovered is False:
            assert start.reason is not None
            raise HttpError(410, start.reason, _LOST[start.reason], "fetch afresh, then read without since")
        position, page = start.position, start.page
        pager = node.history.forward(channel, position.epoch)
        found: list[bytes] = []
        size = 0
        while True:
            page = page or await pager.read(position)
            for publication in page.publications:
                if publication.prev > position:
                    raise HttpError(410, Lost.EXPIRED, _LOST[Lost.EXPIRED], "fetch afresh, then read without since")
                for event in publication.events(position):
                    if len(found) == limit or size > _PAGE_BYTES:
                        return _body(found, position, more=True)
                    found.append(event.standalone(channel))
                    size += len(found[-1])
                    position = event.position
            if page.last:
                return _body(found, position, more=False)
            page = None
    finally:
        node.broker.leave(feed)


def _body(events: list[bytes], position: Position, *, more: bool) -> bytes:
    tail = f'],"position":"{position}","more":{"true" if more else "false"}}}'
    return b"".join((b'{"events":[', b",".join(events), tail.encode()))


def _json(body: bytes) -> Response:
    return Response(body, 200, {"cache-control": "no-store"}, "application/json")


def _unavailable() -> HttpError:
    return HttpError(503, ErrorCode.UNAVAILABLE, "this node cannot read from Redis now", "try again in a moment")
