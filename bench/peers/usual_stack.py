"""Starts the usual way's processes beside a stack, on the same Postgres and the same Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from time import monotonic

import asyncpg

from bench.child import Child
from bench.scenario import BenchError
from bench.stack import Address, RunningStack
from bench.statements import statement
from notifiws.stack.ports import free_port

_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Usual:
    """Its nodes, and the processes whose CPU is of interest."""

    nodes: tuple[Address, ...]
    listener_pid: int
    node_pids: tuple[int, ...]


@asynccontextmanager
async def usual(stack: RunningStack, *, nodes: int) -> AsyncIterator[Usual]:
    """Table, trigger, one listener, and nodes. The processes are gone at the end."""
    ports = [free_port() for _ in range(nodes)]
    connection = await asyncpg.connect(stack.database_url)
    try:
        await connection.execute(statement("usual"))
    finally:
        await connection.close()
    settings = {"database_url": stack.database_url, "redis_url": stack.redis_url}
    async with AsyncExitStack() as children:

        async def start(part: str, **more: int) -> Child:
            child = await Child.start("bench.peers.usual", settings | more, part)
            children.push_async_callback(child.stop)
            return child

        listener = await start("listener")
        servers = [await start("ws", port=port) for port in ports]
        await asyncio.gather(*(child.hear("ready", _SECONDS) for child in (listener, *servers)))
        await _accepting(ports)
        yield Usual(
            tuple(Address("127.0.0.1", port) for port in ports), listener.pid, tuple(server.pid for server in servers)
        )


async def _accepting(ports: list[int]) -> None:
    """uvicorn listens a moment after the app has started."""
    deadline = monotonic() + _SECONDS
    for port in ports:
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                if monotonic() > deadline:
                    raise BenchError("the usual way's nodes do not listen") from None
                await asyncio.sleep(0.02)
            else:
                writer.close()
                break
