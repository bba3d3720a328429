"""`GET /ws/{channel}` without a subprotocol: one text message an event, for scripts and first tries."""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Final, cast

from fastapi import APIRouter
from starlette.datastructures import QueryParams
from starlette.websockets import WebSocket, WebSocketDisconnect

from shared.channel import BadChannel, check_channel
from shared.codes import CloseCode, Lost
from shared.event import OPS
from shared.logs import logger
from shared.position import BadPosition, Position
from shared.tasks import end
from ws_service.broker import TooManyChannels
from ws_service.connection import AsgiConnection
from ws_service.endpoints.sockets import admitted, messages
from ws_service.groups import Plain
from ws_service.limits import MessageRate
from ws_service.node import Node
from ws_service.resume import Past, catch_up, locate_patiently

_PARAMETERS: Final = frozenset({"format", "ops", "since", "ticket"})
# How long a handshake waits for the channel to be live; longer only while Redis is away.
_PREPARE_SECONDS: Final = 2.0
_log = logger("plain")


class BadRequest(ValueError):
    """The channel or a parameter is wrong: closed with 4400."""


class TicketRefused(ValueError):
    """A credential that this release cannot check: closed with 4401."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the URL asks for."""

    channel: str
    shape: Plain
    since: Position | None


def check_names(query: QueryParams, known: frozenset[str]) -> None:
    """What is not known is refused: a misspelt parameter that narrows would be a leak. Raises BadRequest."""
    for name, _ in query.multi_items():
        if name not in known:
            raise BadRequest(f"unknown parameter {name[:40]!a}")
        if len(query.getlist(name)) > 1:
            raise BadRequest(f"{name} is given twice")


def check_ticket(query: QueryParams) -> None:
    """No ticket can be checked in this release. Raises TicketRefused."""
    if "ticket" in query:
        raise TicketRefused("tickets are not supported in this release")


def refuse(connection: AsgiConnection, error: BadRequest | TicketRefused) -> None:
    """Close with the code of what is wrong with the URL."""
    code = CloseCode.MALFORMED if isinstance(error, BadRequest) else CloseCode.UNAUTHENTICATED
    connection.close(code, str(error))


def read_request(channel: str, query: QueryParams) -> Request:
    """Check channel and parameters. Raises BadRequest, TicketRefused."""
    check_names(query, _PARAMETERS)
    try:
        check_channel(channel)
        since = Position.parse(query["since"]) if "since" in query else None
    except BadChannel:
        raise BadRequest("bad channel name") from None
    except BadPosition:
        raise BadRequest("since is not a position") from None
    form = query.get("format", "payload")
    if form not in ("payload", "event"):
        raise BadRequest("format is payload or event")
    ops = None
    if "ops" in query:
        ops = frozenset(query["ops"].split(","))
        if not ops <= set(OPS):
            raise BadRequest(f"ops are some of {','.join(OPS)}")
    check_ticket(query)
    return Request(channel, Plain("event" if form == "event" else "payload", ops), since)


def router(node: Node) -> APIRouter:
    """The endpoint, for this node."""
    routes = APIRouter()

    @routes.websocket("/ws/{channel:path}")
    async def ws(websocket: WebSocket, channel: str) -> None:
        async with admitted(websocket, node, "plain", accept=False) as connection:
            if connection is None:
                return
            try:
                request = read_request(channel, websocket.query_params)
            except (BadRequest, TicketRefused) as error:
                await websocket.accept()
                refuse(connection, error)
                request = None
            await Listener(node, connection).hold(websocket, request)

    return routes


class Listener:
    """One plain connection: the hub's member for its channel.

    Its socket is accepted once it is known from where on events follow: a client whose socket is open misses nothing
    that is committed then. While Redis is away nothing is known, and the client waits with an open socket.
    """

    def __init__(self, node: Node, connection: AsgiConnection) -> None:
        self.connection = connection
        self._located = asyncio.Event()
        self._accepted = asyncio.Event()
        self._node = node
        self._task: asyncio.Task[None] | None = None
        self._channel: str | None = None

    @property
    def wanted(self) -> bool:
        """Whether events may still be delivered."""
        return self.connection.open

    def reset(self, reason: Lost, position: Position) -> None:
        """A plain client cannot be told: it is closed, and comes back without `since`."""
        self.connection.close(CloseCode.HISTORY_GONE, f"history is gone ({reason}); reconnect without since")

    def dropped(self, channel: str) -> None:
        """A live query was: if it is this one, there is nothing to stay for."""
        if channel == self._channel:
            self.connection.close(CloseCode.NORMAL, "the live query was dropped; nothing more will come")

    def farewell(self, after_ms: int) -> None:
        """Plain clients get events and nothing else."""

    async def _begin(self, websocket: WebSocket, request: Request) -> None:
        """Start to follow the channel, and accept the socket. Raises WebSocketDisconnect when nobody waits any more."""
        self._channel = request.channel
        self._task = asyncio.create_task(self._follow(request), name="plain")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PREPARE_SECONDS):
                await self._located.wait()
        await websocket.accept()
        self._accepted.set()

    async def hold(self, websocket: WebSocket, request: Request | None) -> None:
        """Until the client is gone; what it sends is counted and ignored. Without a request it was refused."""
        loop = asyncio.get_running_loop()
        rate = MessageRate(self._node.limits.messages_per_second, loop.time())
        self._node.enter(self)
        try:
            if request is not None:
                await self._begin(websocket, request)
            async for _ in messages(websocket):
                rate.take(loop.time())
                if rate.excessive:
                    self.connection.close(CloseCode.LIMIT, "too many messages")
        except WebSocketDisconnect:
            pass  # gone before it was accepted
        finally:
            if self._task is not None:
                await end(self._task)
            self._node.leave(self, self.connection.close_code)

    async def _until_accepted(self) -> None:
        self._located.set()
        await self._accepted.wait()

    async def _follow(self, request: Request) -> None:
        """Lives as long as the connection: it holds the channel."""
        node = self._node
        try:
            feed = node.broker.join(request.channel)
        except TooManyChannels as error:
            node.metrics.refused.labels("channels").inc()
            await self._until_accepted()
            self.connection.close(CloseCode.LIMIT, str(error))
            return
        node.metrics.subscriptions.inc()
        try:
            # While Redis is away the client, which cannot be told to wait, waits as it is.
            start = await locate_patiently(feed, node.broker, node.retained, Past(request.since))
            await self._until_accepted()
            if start.recovered is False:
                self.reset(cast(Lost, start.reason), start.position)
            await catch_up(feed, node.retained, node.hub, shape=request.shape, member=self, start=start)
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            raise
        except Exception:
            _log.exception("plain client failed", channel=request.channel)
            await self._until_accepted()
            self.connection.close(CloseCode.INTERNAL, "internal error; reconnect")
        finally:
            node.hub.detach(request.channel, request.shape, self)
            node.broker.leave(feed)
            node.metrics.subscriptions.dec()
