"""`GET /ws` with subprotocol `notifiws.v1`: does what the session's actions say."""

import asyncio
import secrets
from typing import Final

from fastapi import APIRouter
from starlette.datastructures import QueryParams
from starlette.responses import Response
from starlette.websockets import WebSocket

from shared.codes import CloseCode, ErrorCode, Lost
from shared.logs import logger
from shared.position import Position
from ws_service import frames
from ws_service.broker import TooManyChannels
from ws_service.connection import AsgiConnection
from ws_service.endpoints.plain import BadRequest, TicketRefused, check_names, check_ticket, refuse
from ws_service.endpoints.sockets import admitted, messages
from ws_service.errors import error_response
from ws_service.feed import Feed
from ws_service.groups import Frames
from ws_service.node import Node
from ws_service.resume import Past, catch_up, locate_patiently
from ws_service.session import Action, Authenticate, Close, Reply, Session, Subscribe, Unsubscribe

SUBPROTOCOL: Final = "notifiws.v1"
_PARAMETERS: Final = frozenset({"ticket"})
# A subscribe waits so long for Redis and for a first listener; then the client is told, and tries again.
_SUBSCRIBE_SECONDS: Final = 15.0
_log = logger("v1")


def router(node: Node) -> APIRouter:
    """The endpoint, for this node."""
    routes = APIRouter()

    @routes.websocket("/ws")
    async def ws(websocket: WebSocket) -> None:
        if SUBPROTOCOL not in websocket.scope.get("subprotocols", []):
            await websocket.send_denial_response(_without_subprotocol())
            return
        async with admitted(websocket, node, "v1", SUBPROTOCOL) as connection:
            if connection is not None:
                await Conversation(node, connection).hold(websocket)

    @routes.get("/ws", include_in_schema=False)
    async def no_socket() -> Response:
        return _without_subprotocol()

    return routes


def _without_subprotocol() -> Response:
    return error_response(
        400,
        ErrorCode.BAD_FIELD,
        f"/ws is a WebSocket with subprotocol {SUBPROTOCOL}",
        f'new WebSocket(url, "{SUBPROTOCOL}"), or /ws/{{channel}} for plain messages',
    )


class Subscription:
    """One subscription of one connection."""

    __slots__ = ("channel", "connection", "ended", "feed", "sub", "task", "unanswered")

    def __init__(self, connection: AsgiConnection, request: Subscribe, feed: Feed) -> None:
        self.connection = connection
        self.sub = request.sub
        self.channel = request.channel
        self.feed = feed
        self.task: asyncio.Task[None] | None = None
        self.ended = False
        # The `id` of the `subscribe`, until something was said to it.
        self.unanswered: int | None = request.id

    @property
    def wanted(self) -> bool:
        """Whether events may still be delivered. A cancelled task may run on for a while: see shared/tasks.py."""
        return not self.ended and self.connection.open

    def reset(self, reason: Lost, position: Position) -> None:
        """Tell the client that history is broken."""
        self.connection.write((frames.reset(self.sub, self.channel, reason, position),))


class Conversation:
    """One connection's subscriptions and their tasks. A task lives until its subscription is attached to the hub."""

    def __init__(self, node: Node, connection: AsgiConnection) -> None:
        self.connection = connection
        self._node = node
        self._session = Session(node.limits, asyncio.get_running_loop().time())
        self._subscriptions: dict[str, Subscription] = {}
        self._name = secrets.token_hex(8)

    def farewell(self, after_ms: int) -> None:
        """Say that the node goes away."""
        self.connection.write((frames.reconnect(after_ms),))

    def dropped(self, channel: str) -> None:
        """End the subscriptions of a live query that was dropped."""
        for sub in [sub for sub, each in self._subscriptions.items() if each.channel == channel]:
            request = self._subscriptions[sub].unanswered
            self._session.ended(sub)
            self._end(sub)
            self.connection.write((frames.unsubscribed(request, sub, "dropped"),))

    async def hold(self, websocket: WebSocket) -> None:
        """Talk until the client is gone."""
        node = self._node
        node.enter(self)
        loop = asyncio.get_running_loop()
        try:
            self._begin(websocket.query_params)
            async for message in messages(websocket):
                if not self.connection.open:
                    continue
                text = message.get("text")
                if text is None:
                    self.connection.close(CloseCode.BINARY, "text frames only")
                    continue
                for action in self._session.receive(text, loop.time()):
                    self._do(action)
                # Do not take more from a client that does not read the answers.
                await self.connection.room(0)
        finally:
            for sub in tuple(self._subscriptions):
                self._end(sub)
            node.leave(self, self.connection.close_code)

    def _begin(self, query: QueryParams) -> None:
        """Say `welcome`, or close when the URL asks for what is not there."""
        try:
            check_names(query, _PARAMETERS)
            check_ticket(query)
        except (BadRequest, TicketRefused) as error:
            refuse(self.connection, error)
        else:
            self._welcome()

    def _welcome(self, request: int | None = None) -> None:
        node = self._node
        limits = node.limits.announced()
        self.connection.write((frames.welcome(self._name, node.name, node.version, limits, request),))

    def _do(self, action: Action) -> None:
        match action:
            case Reply(frame):
                self.connection.write((frame,))
            case Subscribe():
                self._start(action)
            case Unsubscribe(sub, frame):
                request = self._subscriptions[sub].unanswered
                self._end(sub)
                if request is not None:
                    why = f"{sub!r} was unsubscribed before it stood"
                    fix = "wait for `subscribed` if you want it"
                    self.connection.write((frames.error(request, ErrorCode.NOT_SUBSCRIBED, why, fix),))
                self.connection.write((frame,))
            case Authenticate(_, number):
                # Everything is open to everyone: any token is as good as none.
                self._welcome(number)
            case Close(code, reason):
                self.connection.close(code, reason)

    def _start(self, request: Subscribe) -> None:
        try:
            feed = self._node.broker.join(request.channel)
        except TooManyChannels as error:
            self._node.metrics.refused.labels("channels").inc()
            self._session.ended(request.sub)
            self.connection.write((frames.error(request.id, ErrorCode.LIMIT, str(error), TooManyChannels.fix),))
            return
        subscription = Subscription(self.connection, request, feed)
        self._subscriptions[request.sub] = subscription
        self._node.metrics.subscriptions.inc()
        subscription.task = asyncio.create_task(self._subscribe(subscription, request), name="subscribe")

    async def _subscribe(self, subscription: Subscription, request: Subscribe) -> None:
        node, feed = self._node, subscription.feed
        past = Past(request.since, request.rewind_events, request.rewind_seconds)
        try:
            async with asyncio.timeout(_SUBSCRIBE_SECONDS):
                start = await locate_patiently(feed, node.broker, node.retained, past)
                declared = await node.broker.is_declared(request.channel)
            if not subscription.wanted:
                return
            if past.wanted:
                node.metrics.resumes.labels("recovered" if start.recovered else str(start.reason)).inc()
            subscription.unanswered = None
            head = feed.head
            if head is None or (head.epoch == start.position.epoch and head < start.position):
                head = start.position  # the channel is quieter than the client's position, and nothing lies between
            self.connection.write(
                (
                    frames.subscribed(
                        request.id,
                        request.sub,
                        request.channel,
                        start.position,
                        head,
                        declared=declared,
                        recovered=start.recovered,
                        reason=start.reason,
                    ),
                )
            )
            await catch_up(feed, node.retained, node.hub, shape=Frames(), member=subscription, start=start)
            subscription.task = None
        except TimeoutError:
            if subscription.wanted:
                why = "this node cannot follow the channel now"
                self._fail(request, ErrorCode.UNAVAILABLE, why, "try again in a moment")
        except Exception:
            _log.exception("subscribe failed", channel=request.channel)
            self.connection.close(CloseCode.INTERNAL, "internal error; reconnect and resume")

    def _fail(self, request: Subscribe, code: ErrorCode, message: str, fix: str) -> None:
        self._subscriptions[request.sub].task = None
        self._session.ended(request.sub)
        self._end(request.sub)
        self.connection.write((frames.error(request.id, code, message, fix),))

    def _end(self, sub: str) -> None:
        subscription = self._subscriptions.pop(sub)
        subscription.ended = True
        if subscription.task is not None:
            subscription.task.cancel()
        self._node.hub.detach(subscription.channel, Frames(), subscription)
        self._node.broker.leave(subscription.feed)
        self._node.metrics.subscriptions.dec()
