"""uvicorn's WebSocket protocol with one door more: closing a peer that does not read.

ASGI's `websocket.close` waits for the peer to take what was sent before, and uvicorn's own time-outs end with
`close()`, which keeps the unsent bytes for ever. The door is offered as the scope extension `notifiws.abandon`;
endpoints work without it under any other server. Control frames never reach the endpoints, so they are bounded here:
how many come, and how many answers wait for a peer that does not read. The class that also takes raw frames comes with
the fan-out work.
"""

from asyncio.transports import BaseTransport
from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from shared.codes import CloseCode
from ws_service.limits import MessageRate
from ws_service.protocol import EXTENSION, FLOODED

# A stalled peer that comes back within this time still reads why it was closed.
_GRACE_SECONDS: Final = 5.0
# Pings, pongs and parts of messages; a sane client sends far below one a second. Five seconds' worth at once.
_CONTROL_FRAMES_PER_SECOND: Final = 100


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """`uvicorn --ws ws_service.protocol.uvicorn:WebSocketProtocol`."""

    def handle_connect(self, event: Any) -> None:
        """Offer the extension to the app (its task runs in a later turn of the loop)."""
        super().handle_connect(event)
        if hasattr(self, "scope"):
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[EXTENSION] = self.abandon

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin to count."""
        super().connection_made(transport)
        self._control = MessageRate(_CONTROL_FRAMES_PER_SECOND, self.loop.time())
        self._pong: bytes | None = None

    def handle_ping(self) -> None:
        """Answer, if the peer reads; else only the newest ping, once it does (RFC 6455, 5.5.3)."""
        output = self.conn.data_to_send()
        if not self._count_control():
            return
        if self.conn.close_sent is None and not self.writable.is_set():
            self._pong = output[-1] if output else self._pong
        elif self.handshake_complete and not self.transport.is_closing():
            self.transport.write(b"".join(output))

    def handle_pong(self, event: Any) -> None:
        """Count those that nobody asked for, too."""
        if self._count_control():
            super().handle_pong(event)

    def handle_cont(self, event: Any) -> None:
        """Count the parts: empty ones would add up to no message that is too big."""
        if self._count_control():
            super().handle_cont(event)

    def resume_writing(self) -> None:
        """The peer reads again."""
        super().resume_writing()
        pong, self._pong = self._pong, None
        if pong is not None and not self.close_sent and not self.transport.is_closing():
            self.transport.write(pong)

    def _count_control(self) -> bool:
        """Count a frame. False: there were too many, and the connection is being closed."""
        self._control.take(self.loop.time())
        if not self._control.excessive:
            return True
        if not self.handshake_complete:
            self.transport.abort()
        elif not self.close_sent and not self.disconnected and not self.transport.is_closing():
            # The endpoint hears of a disconnect alone, and a peer may end with any code.
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[FLOODED] = True
            self.abandon(int(CloseCode.LIMIT), "too many control frames")
            # What still comes is not looked at; the grace time ends it.
            self.transport.pause_reading()
        return False

    def abandon(self, code: int, reason: str) -> None:
        """Send the close frame behind what the transport already holds, and cut the connection after a grace time."""
        if self.close_sent or self.disconnected or self.transport.is_closing():
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.stop_keepalive()
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(_GRACE_SECONDS, self.transport.abort)

    def handle_close(self, event: Any) -> None:
        """The peer leaves; it may not read what is on its way."""
        super().handle_close(event)
        self.loop.call_later(_GRACE_SECONDS, self.transport.abort)

    def eof_received(self) -> None:
        """The same without a close frame."""
        self.loop.call_later(_GRACE_SECONDS, self.transport.abort)

    def handle_parser_exception(self) -> None:
        """Nor may one that speaks no WebSocket."""
        super().handle_parser_exception()
        self.loop.call_later(_GRACE_SECONDS, self.transport.abort)

    def keepalive_timeout(self) -> None:
        """No pong in time: the peer will not read the rest either."""
        super().keepalive_timeout()
        self.loop.call_later(_GRACE_SECONDS, self.transport.abort)
