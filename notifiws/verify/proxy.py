"""A TCP proxy between two parts: it passes bytes on, until it is told to be slow, to swallow them, or to cut.

Swallowed bytes are gone and nobody is told: the kernel at either end believes that the other is there (half-open).
When a link is healed after that, its old connections are cut, as a router's would be: what was swallowed is missing in
the midst of a stream, and no network hands on the rest of a stream with a hole in it.
"""

import asyncio
import contextlib
from enum import StrEnum
from typing import Final

from notifiws.stack.ports import free_port

_CHUNK: Final = 1 << 16
_SLOW_BYTES: Final = 4_096  # at a time
_SLOW_SECONDS: Final = 0.08  # before each of them: 50 KB/s, and 80 ms late


class Mode(StrEnum):
    """What a link does with bytes."""

    OPEN = "open"
    SLOW = "slow"
    HALF_OPEN = "half-open"  # nothing goes either way
    ONE_WAY = "one-way"  # nothing comes back from the server


class Link:
    """Listens on a port of its own and connects each caller to `host`:`port`."""

    def __init__(self, name: str, host: str, port: int) -> None:
        self.name = name
        self.port = free_port()
        self.mode = Mode.OPEN
        self._target = host, port
        self._server: asyncio.Server | None = None
        self._pairs: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, ...]] = {}
        self._spoilt = False

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=_CHUNK)

    async def stop(self) -> None:
        """Cut everything and listen no more."""
        if self._server is not None:
            self._server.close()
        self.cut()
        await asyncio.gather(*self._pairs, return_exceptions=True)

    def set(self, mode: Mode) -> None:
        """From now on, for all connections, those that exist too."""
        self._spoilt |= self.mode in (Mode.HALF_OPEN, Mode.ONE_WAY)
        self.mode = mode
        if mode is Mode.OPEN and self._spoilt:
            self._spoilt = False
            self.cut()

    def cut(self) -> None:
        """Reset every connection. New ones are taken."""
        for task, writers in list(self._pairs.items()):
            for writer in writers:
                # Without what waits to be sent: both ends see a reset, in the midst of whatever it was.
                writer.transport.abort()
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pairs[task] = (writer,)
        try:
            # A caller that the link swallows is accepted, as by a listening socket whose owner is not reached.
            while self.mode is Mode.HALF_OPEN:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            onward, out = await asyncio.open_connection(*self._target, limit=_CHUNK)
            self._pairs[task] = (writer, out)
            there = asyncio.create_task(self._pump(reader, out, back=False))
            back = asyncio.create_task(self._pump(onward, writer, back=True))
            try:
                await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
            finally:
                there.cancel()
                back.cancel()
                await asyncio.gather(there, back, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for each in self._pairs.pop(task):
                each.transport.abort() if self.mode is not Mode.OPEN else each.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, back: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_SLOW_BYTES if self.mode is Mode.SLOW else _CHUNK):
                if self.mode is Mode.HALF_OPEN or (self.mode is Mode.ONE_WAY and back):
                    continue
                if self.mode is Mode.SLOW:
                    await asyncio.sleep(_SLOW_SECONDS)
                writer.write(data)
                await writer.drain()
        # An end that nobody hears of, while the link swallows.
        while self.mode is Mode.HALF_OPEN or (self.mode is Mode.ONE_WAY and back):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
