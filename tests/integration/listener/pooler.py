"""A small transaction pooler: each client's server connection, once logged in, serves whoever begins a transaction.

In statement mode it refuses transactions, as PgBouncer does.
"""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

_FIELDS = b"SERROR\0VERROR\0C08P01\0Mtransaction blocks not allowed in statement pooling mode\0\0"
_REFUSAL = b"E" + struct.pack(">I", 4 + len(_FIELDS)) + _FIELDS
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(5)
    return head + await reader.readexactly(struct.unpack(">I", head[1:])[0] - 4)


class _Pooler:
    def __init__(self, host: str, port: int, statement: bool) -> None:
        self._address = host, port
        self._statement = statement
        self._free: list[Streams] = []
        self._back = asyncio.Condition()
        self.tasks: set[asyncio.Task[None]] = set()
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client."""
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        self.writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            await self._log_in(reader, writer)
            coming = asyncio.ensure_future(_message(reader))
            try:
                while (message := await asyncio.shield(coming))[:1] != b"X":
                    if self._statement and message[5:].upper().startswith(b"BEGIN"):
                        writer.write(_REFUSAL)
                        await writer.drain()
                        break
                    coming = await self._transaction(coming, reader, writer)
            finally:
                coming.cancel()
        writer.close()

    async def _log_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            length = await reader.readexactly(4)
            body = await reader.readexactly(struct.unpack(">I", length)[0] - 4)
            if body[:4] not in (struct.pack(">I", 80877103), struct.pack(">I", 80877104)):
                break
            writer.write(b"N")  # neither TLS nor GSS
        server = await asyncio.open_connection(*self._address)
        self.writers.append(server[1])
        server[1].write(length + body)
        while True:
            message = await _message(server[0])
            writer.write(message)
            if message[:1] == b"Z":
                break
            # SCRAM: the two rounds that want an answer.
            if message[:1] == b"R" and struct.unpack(">I", message[5:9])[0] in (3, 5, 10, 11):
                server[1].write(await _message(reader))
        await self._release(server)

    async def _release(self, server: Streams) -> None:
        async with self._back:
            self._free.append(server)
            self._back.notify()

    async def _transaction(
        self, coming: asyncio.Future[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> asyncio.Future[bytes]:
        """Both ways until the server says that it is idle; returns the client's next message."""
        async with self._back:
            await self._back.wait_for(lambda: self._free)
            server = self._free.pop()
        answer = asyncio.ensure_future(_message(server[0]))
        expected = 0
        while True:
            await asyncio.wait((coming, answer), return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                message = answer.result()
                writer.write(message)
                if message[:1] == b"Z":
                    expected -= 1
                    if expected == 0 and message[5:6] == b"I":
                        await self._release(server)
                        return coming
                answer = asyncio.ensure_future(_message(server[0]))
            if coming.done():
                message = coming.result()
                server[1].write(message)
                expected += message[:1] in b"SQ"
                coming = asyncio.ensure_future(_message(reader))


@asynccontextmanager
async def transaction_pooler(url: str, *, statement: bool = False) -> AsyncIterator[str]:
    """Yields the URL through the pooler."""
    parts = urlsplit(url)
    assert parts.hostname and parts.port
    pooler = _Pooler(parts.hostname, parts.port, statement)
    server = await asyncio.start_server(pooler.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield urlunsplit(parts._replace(netloc=parts.netloc.replace(str(parts.port), str(port))))
    server.close()
    for task in pooler.tasks:
        task.cancel()
    await asyncio.gather(*pooler.tasks, return_exceptions=True)
    for writer in pooler.writers:
        writer.close()
    for writer in pooler.writers:
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
