"""uvicorn's WebSocket protocol with one door more: closing a peer that does not read.

ASGI's `websocket.close` waits for the peer to take what was sent before, and uvicorn's own time-outs end with
`close()`, which keeps the unsent bytes for ever. The door is offered as the scope extension `notifiws.abandon`;
endpoints work without it under any other server. The class that also takes raw frames comes with the fan-out work.
"""

from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from ws_service.protocol import EXTENSION

# A stalled peer that comes back within this time still reads why it was closed.
_GRACE_SECONDS: Final = 5.0


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """`uvicorn --ws ws_service.protocol.uvicorn:WebSocketProtocol`."""

    def handle_connect(self, event: Any) -> None:
        """Offer the extension to the app (its task runs in a later turn of the loop)."""
        super().handle_connect(event)
        if hasattr(self, "scope"):
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[EXTENSION] = self.abandon

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

    def keepalive_timeout(self) -> None:
        """No pong in time: the peer will not read the rest either."""
        super().keepalive_timeout()
        self.loop.call_later(_GRACE_SECONDS, self.transport.abort)
