"""uvicorn around the app: two listening sockets, our own way to stop."""

import asyncio
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Final

import uvicorn

from shared.listen import listen, listen_near
from shared.logs import logger
from shared.settings import Settings
from ws_service.drain import drain
from ws_service.limits import MESSAGE_BYTES
from ws_service.node import Node
from ws_service.protocol.uvicorn import WebSocketProtocol
from ws_service.protocol.uvicorn_http import HttpProtocol

_BACKLOG: Final = 2048
_PING_SECONDS: Final = 20.0


def bind(settings: Settings) -> list[socket.socket]:
    """The node's own listening socket, and the inherited one of the shared endpoint. Raises OSError.

    A port that was set is taken or refused; without one the next free port from the default on is taken and said.
    """
    if "port" in settings.model_fields_set:
        own = listen(settings.host, settings.port, _BACKLOG)
    else:
        own = listen_near(
            settings.host,
            settings.port,
            lambda port: logger("app").warning("the port is in use; taking the next free one", port=port),
        )
    sockets = [own]
    if settings.shared_fd is not None:
        try:
            shared = socket.socket(fileno=settings.shared_fd)
        except OSError:
            own.close()
            raise
        shared.setblocking(False)
        sockets.append(shared)
    return sockets


class NodeServer(uvicorn.Server):
    """A uvicorn server that drains its clients before it shuts down, and ends when a part of the node dies.

    `overdue` is called when the drain time is nearly over and it still runs.
    """

    def __init__(self, app: object, node: Node, overdue: Callable[[], None] = lambda: None) -> None:
        super().__init__(
            uvicorn.Config(
                app,  # type: ignore[arg-type]
                ws=WebSocketProtocol,
                http=HttpProtocol,
                lifespan="on",
                ws_per_message_deflate=False,
                ws_max_size=MESSAGE_BYTES,
                ws_ping_interval=_PING_SECONDS,
                ws_ping_timeout=_PING_SECONDS,
                access_log=False,
                log_config=None,
                proxy_headers=False,
                server_header=False,
                backlog=_BACKLOG,
                # Of the drain time, after the share that draining takes; uvicorn hands it to wait_for as it is.
                timeout_graceful_shutdown=0.15 * node.settings.drain_seconds,  # type: ignore[arg-type]
            )
        )
        self._node = node
        self._overdue = overdue
        self._stopping: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.broken = False

    async def run_on(self, sockets: list[socket.socket]) -> None:
        """Serve until a signal came and all clients were sent away, or the node broke."""
        self._loop = asyncio.get_running_loop()
        watch = asyncio.create_task(self._watch())
        try:
            await self.serve(sockets)
        finally:
            watch.cancel()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains; a second one, or SIGINT after it, ends at once."""
        if self._stopping is not None or self._loop is None:
            self.should_exit = True
            self.force_exit = sig == signal.SIGINT
        else:
            self._loop.call_soon_threadsafe(self.stop)

    def stop(self) -> None:
        """Drain, then end."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        # Other nodes go on accepting from the shared socket; our own answers probes until the end.
        for server in getattr(self, "servers", [])[1:]:
            server.close()
        # Whatever hangs then hangs without us.
        loop = asyncio.get_running_loop()
        loop.call_later(0.9 * self._node.settings.drain_seconds, self._force)
        loop.call_later(0.95 * self._node.settings.drain_seconds, self._overdue)
        try:
            await drain(self._node)
        finally:
            self.should_exit = True

    def _force(self) -> None:
        self.should_exit = self.force_exit = True

    async def _watch(self) -> None:
        await self._node.failed.wait()
        self.broken = True
        self.should_exit = True
