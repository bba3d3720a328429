"""What the hub writes to: one client's connection, as an object that takes finished messages.

Nothing above this file knows how bytes reach the peer. Today there is one adapter, plain ASGI sends through one writer
task; where the server offers it (ws_service/protocol/), a peer that does not read is closed past its full buffer.
"""

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, Protocol

from shared.codes import CloseCode

Batch = tuple[bytes, ...]
"""Whole text messages, in order. One tuple object is shared by all connections that get the same."""

# A close frame behind messages that are still on their way: after this the connection is closed without them.
_FLUSH_SECONDS: Final = 5.0
_REASON_BYTES: Final = 120  # RFC 6455 allows 123


class Connection(Protocol):
    """One client. Its methods never block and never raise because of the peer."""

    @property
    def open(self) -> bool:
        """Whether it still takes messages."""

    @property
    def buffered(self) -> int:
        """Bytes that were written and not yet taken over by the transport."""

    def write(self, messages: Batch) -> None:
        """Send these messages after all earlier ones. More than the bound in waiting: closed with 4409."""

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Send what waits, then close. The first close counts."""

    async def room(self, size: int) -> bool:
        """Wait until messages of `size` bytes fit well, so that a pull may go on. False: it was closed meanwhile."""


class AsgiConnection:
    """A connection behind ASGI `send`. `abandon` (code, reason) closes at once, past what the transport holds.

    Bounded: what waits behind the message under way, the largest one not counted, may not exceed `limit` bytes, else
    the connection is closed with 4409. Not counted, since a row larger than the bound must get through, too.
    """

    def __init__(
        self,
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
        limit: int,
        abandon: Callable[[int, str], None] | None = None,
        on_slow: Callable[[], None] = lambda: None,
    ) -> None:
        self._send = send
        self._limit = limit
        self._abandon = abandon
        self._on_slow = on_slow
        self._queue: deque[tuple[str, int]] = deque()
        self._bytes = 0
        self._largest = 0  # of those behind the first, since the queue was last empty
        self._wake = asyncio.Event()
        self._relief: list[asyncio.Future[None]] = []
        self._closing: tuple[CloseCode, str] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writer = asyncio.create_task(self._run(), name="connection writer")

    @property
    def open(self) -> bool:
        """Whether it still takes messages."""
        return self._closing is None and not self._writer.done()

    @property
    def buffered(self) -> int:
        """Bytes that were written and not yet taken over by the transport."""
        return self._bytes

    @property
    def close_code(self) -> CloseCode | None:
        """The code that this side closes with, once it does."""
        return self._closing[0] if self._closing else None

    def write(self, messages: Batch) -> None:
        """Send these messages after all earlier ones."""
        if not self.open:
            return
        for text, size in _texts(messages):
            if self._queue:
                self._largest = max(self._largest, size)
                if self._bytes - self._queue[0][1] + size - self._largest > self._limit:
                    self._give_up()
                    return
            self._queue.append((text, size))
            self._bytes += size
        self._wake.set()

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Send what waits, then close."""
        if not self.open:
            return
        self._closing = (code, reason.encode()[:_REASON_BYTES].decode(errors="ignore"))
        self._timer = asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self._cut)
        self._relieve()
        self._wake.set()

    async def room(self, size: int) -> bool:
        """Wait until `size` bytes fit into half of the bound, or nothing waits at all."""
        while self.open and self._bytes and (self._bytes + size) * 2 > self._limit:
            relief = asyncio.get_running_loop().create_future()
            self._relief.append(relief)
            await relief
        return self.open

    def fail(self, code: CloseCode, reason: str) -> None:
        """Close at once, without what still waits."""
        if self.open:
            self._closing = (code, reason)
            self._cut()

    async def ended(self) -> None:
        """The endpoint is done with the peer: stop the writer."""
        if self._timer:
            self._timer.cancel()
        self._writer.cancel()
        await asyncio.wait([self._writer])
        self._queue.clear()
        self._bytes = 0
        self._relieve()

    def _give_up(self) -> None:
        self._on_slow()
        self._closing = (CloseCode.SLOW, "too slow; reconnect and resume with your position")
        self._cut()

    def _cut(self) -> None:
        """Close without what still waits here."""
        self._queue.clear()
        self._bytes = 0
        self._relieve()
        if self._abandon and self._closing:
            # The writer may be inside a send that waits for the peer; nothing of its message was written yet.
            self._writer.cancel()
            self._abandon(*self._closing)
        else:
            self._wake.set()

    def _relieve(self) -> None:
        for relief in self._relief:
            if not relief.done():
                relief.set_result(None)
        self._relief.clear()

    async def _run(self) -> None:
        # Whatever ends the sending (the peer left, the server went down) is the receiving side's to notice.
        with contextlib.suppress(Exception):
            while True:
                while self._queue:
                    text, size = self._queue[0]
                    await self._send({"type": "websocket.send", "text": text})
                    if self._queue and self._queue[0][0] is text:
                        self._queue.popleft()
                        self._bytes -= size
                    if self._relief:
                        self._relieve()
                self._largest = 0
                if self._closing:
                    break
                self._wake.clear()
                await self._wake.wait()
            await self._finish(*self._closing)
        self._relieve()

    async def _finish(self, code: CloseCode, reason: str) -> None:
        """All that waited is on its way: end."""
        if self._abandon:
            self._abandon(code, reason)
        else:
            await self._send({"type": "websocket.close", "code": int(code), "reason": reason})


_last: tuple[Batch, tuple[tuple[str, int], ...]] = ((), ())


def _texts(messages: Batch) -> tuple[tuple[str, int], ...]:
    """Decode a batch once, however many connections it is written to: the hub writes it to all in one go."""
    global _last  # noqa: PLW0603 - a memo of one entry, compared by identity
    if _last[0] is not messages:
        _last = (messages, tuple((_text(message), len(message)) for message in messages))
    return _last[1]


# Clients that catch up get the same frames one after the other, each in a batch of its own.
_MEMO_MESSAGES: Final = 32
_MEMO_LEAST: Final = 2_000
_memo: OrderedDict[int, tuple[bytes, str]] = OrderedDict()


def _text(message: bytes) -> str:
    """Decode a message; a large one once for all who get it now, so that its copies do not add up."""
    if len(message) < _MEMO_LEAST:
        return message.decode("utf-8", "replace")
    known = _memo.get(id(message))
    if known is not None and known[0] is message:
        return known[1]
    text = message.decode("utf-8", "replace")
    _memo[id(message)] = (message, text)
    if len(_memo) > _MEMO_MESSAGES:
        _memo.popitem(last=False)
    return text
