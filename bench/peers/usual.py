"""The usual way, as it is found in many an inventory system: pg_notify in a row trigger, one listener that relays into
Redis pub/sub, FastAPI nodes that loop over their clients. No history, no order across reconnects, no limits.

`python -m bench.peers.usual listener` and `… ws`. Settings on stdin: `database_url`, `redis_url`, `port` (nodes).
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator

import asyncpg
import redis.asyncio as redis
import uvicorn
import uvloop
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

PG_CHANNEL = "usual_channel"
REDIS_CHANNEL = "usual"


async def listener(database_url: str, redis_url: str) -> None:
    """NOTIFY → PUBLISH, one by one and in order."""
    client = redis.Redis.from_url(redis_url)
    payloads: asyncio.Queue[str] = asyncio.Queue()
    connection = await asyncpg.connect(database_url)
    await connection.add_listener(PG_CHANNEL, lambda *notification: payloads.put_nowait(notification[-1]))
    print('{"state": "ready"}', flush=True)
    while True:
        await client.publish(REDIS_CHANNEL, await payloads.get())


def node(redis_url: str) -> FastAPI:
    """One task that hears Redis and sends to every client in turn."""
    clients: set[WebSocket] = set()

    async def broadcast() -> None:
        client = redis.Redis.from_url(redis_url, decode_responses=True)
        async with client.pubsub() as pubsub:
            await pubsub.subscribe(REDIS_CHANNEL)
            async for message in pubsub.listen():
                if message["type"] == "message":
                    for ws in list(clients):
                        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                            await ws.send_text(message["data"])

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(broadcast())
        print('{"state": "ready"}', flush=True)
        yield
        task.cancel()

    app = FastAPI(lifespan=lifespan)

    @app.websocket("/ws/sales")
    async def sales(ws: WebSocket) -> None:
        await ws.accept()
        clients.add(ws)
        try:
            while True:
                await ws.receive_text()
        except WebSocketDisconnect:
            clients.discard(ws)

    return app


def main() -> None:
    """Run one of the two parts."""
    settings = json.loads(sys.stdin.readline())
    if sys.argv[1] == "listener":
        uvloop.run(listener(settings["database_url"], settings["redis_url"]))
    else:
        uvicorn.run(node(settings["redis_url"]), host="127.0.0.1", port=settings["port"], log_level="warning")


if __name__ == "__main__":
    main()
