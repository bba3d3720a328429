"""A node inside the test's own loop: the real app behind the real server, on a free port."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
from fastapi import FastAPI
from websockets.asyncio.client import ClientConnection, connect

from shared.settings import Settings
from ws_service.app import create_app
from ws_service.node import Node
from ws_service.server import NodeServer, bind


class RunningNode:
    """One running node and ways to talk to it."""

    def __init__(self, app: FastAPI, server: NodeServer, listening: socket.socket) -> None:
        self.app = app
        self.node: Node = app.state.node
        self.server = server
        self.port: int = listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.ws = f"ws://127.0.0.1:{self.port}"

    async def get(self, path: str, **options: Any) -> httpx.Response:
        """A GET request."""
        async with httpx.AsyncClient(base_url=self.url) as client:
            return await client.get(path, **options)

    async def until(self, condition: Any, seconds: float = 15) -> None:
        """Poll a condition of the node's inside."""
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.01)

    async def ready(self, seconds: float = 15) -> None:
        """Wait until /readyz would say so."""
        await self.until(lambda: self.node.readiness.ready, seconds)

    @contextlib.asynccontextmanager
    async def v1(self, **options: Any) -> AsyncIterator["V1"]:
        """A raw `notifiws.v1` connection, `welcome` read."""
        async with connect(
            self.ws + "/ws", subprotocols=["notifiws.v1"], max_size=None, compression=None, **options
        ) as connection:
            client = V1(connection)
            client.welcome = await client.frame()
            yield client

    def plain(self, channel: str, query: str = "", **options: Any) -> Any:
        """A plain connection."""
        return connect(f"{self.ws}/ws/{channel}{query}", max_size=None, compression=None, **options)


class V1:
    """Frames in and out of one connection."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.welcome: dict[str, Any] = {}

    async def send(self, **frame: Any) -> None:
        """Send a frame."""
        await self.connection.send(json.dumps(frame))

    async def frame(self, seconds: float = 10) -> dict[str, Any]:
        """The next frame."""
        async with asyncio.timeout(seconds):
            frame: dict[str, Any] = json.loads(await self.connection.recv())
            return frame

    async def ask(self, **frame: Any) -> dict[str, Any]:
        """Send a frame and return the next one that comes."""
        await self.send(**frame)
        return await self.frame()

    async def raw(self, message: str | bytes) -> dict[str, Any]:
        """Send anything and return the next frame."""
        await self.connection.send(message)
        return await self.frame()

    async def closed(self, seconds: float = 10) -> tuple[int | None, str | None]:
        """Read until the connection is closed; its code and reason."""
        async with asyncio.timeout(seconds):
            with contextlib.suppress(Exception):
                while True:
                    await self.connection.recv()
            await self.connection.wait_closed()
        return self.connection.close_code, self.connection.close_reason

    async def barrier(self, number: int = 999) -> list[dict[str, Any]]:
        """All frames that come before the answer to a ping."""
        await self.send(type="ping", id=number)
        frames = []
        while (frame := await self.frame())["type"] != "pong":
            frames.append(frame)
        return frames


@contextlib.asynccontextmanager
async def running_node(redis_url: str | None, *, wait: bool = True, **settings: Any) -> AsyncIterator[RunningNode]:
    """Start a node; with `wait`, until it is ready. It is drained at the end."""
    chosen: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "drain_seconds": 2, "redis_url": redis_url, **settings}
    app = create_app(Settings(_env_file=None, **chosen))
    sockets = bind(app.state.node.settings)
    server = NodeServer(app, app.state.node)
    node = RunningNode(app, server, sockets[0])
    task = asyncio.create_task(server.run_on(sockets))
    try:
        await node.until(lambda: server.started or task.done())
        if task.done():
            task.result()
        if wait:
            await node.ready()
        yield node
    finally:
        server.stop()
        await task
