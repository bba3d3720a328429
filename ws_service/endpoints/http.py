"""Channels and their kept events over HTTP, and what this release refuses."""

from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import Response

from shared.channel import BadChannel, check_channel
from shared.codes import ErrorCode
from shared.position import BadPosition, Position
from ws_service.endpoints.pages import EventsPage, unavailable
from ws_service.endpoints.parameters import takes
from ws_service.errors import HttpError
from ws_service.node import Node

_MOST_EVENTS: Final = 1_000


def router(node: Node) -> APIRouter:
    """The endpoints, for this node."""
    routes = APIRouter()

    @routes.get("/channels", summary="The channels that something writes to", dependencies=[takes()])
    async def channels() -> Response:
        if node.broker.epoch is None:
            raise unavailable()
        listed = [{"channel": channel} for channel in sorted(node.broker.declared)]
        return _json(msgspec.json.encode({"channels": listed}))

    @routes.get(
        "/channels/{channel}/events",
        summary="A page of the channel's kept events",
        dependencies=[takes("since", "limit")],
    )
    async def events(
        channel: str,
        since: Annotated[str | None, Query(description="a position; without it: the oldest that is kept")] = None,
        limit: Annotated[int, Query(ge=1, le=_MOST_EVENTS)] = 100,
    ) -> Response:
        try:
            check_channel(channel)
            position = None if since is None else Position.parse(since)
        except BadChannel as error:
            raise HttpError(400, ErrorCode.BAD_CHANNEL, str(error), "/channels lists those there are") from None
        except BadPosition as error:
            fix = "send the position of a page or an event, unchanged; without since: the oldest that is kept"
            raise HttpError(400, ErrorCode.BAD_POSITION, str(error), fix) from None
        return EventsPage(node, channel, position, limit)

    def refuse(what: str, fix: str) -> Any:
        async def refused() -> Response:
            raise HttpError(501, ErrorCode.UNSUPPORTED, f"{what} not supported in this release", fix)

        return refused

    for method, path, what, fix in (
        ("GET", "/channels/{channel}/snapshot", "snapshots are", "read the table, then subscribe"),
        ("POST", "/tickets", "tickets are", "connect without one"),
        ("GET", "/asyncapi.json", "the AsyncAPI description is", "see docs/protocol.md"),
    ):
        routes.add_api_route(path, refuse(what, fix), methods=[method], include_in_schema=False)
    return routes


def _json(body: bytes) -> Response:
    return Response(body, 200, {"cache-control": "no-store"}, "application/json")
