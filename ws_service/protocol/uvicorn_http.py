"""uvicorn's HTTP protocol with one door more: cutting a peer that does not read its answer.

uvicorn ends with `close()`, which keeps the unsent bytes for ever. The door is offered as the scope extension
`notifiws.cut`; endpoints work without it under any other server.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ws_service.protocol import CUT

# So long a transport may stay full without a byte's progress below its mark.
_STALL_SECONDS: Final = 20.0
_GRACE_SECONDS: Final = 5.0


class HttpProtocol(HttpToolsProtocol):
    """`uvicorn --http ws_service.protocol.uvicorn_http:HttpProtocol`."""

    _stall: asyncio.TimerHandle | None = None

    def on_message_begin(self) -> None:
        """Offer the extension to the app."""
        super().on_message_begin()
        extensions: dict[str, Any] = {CUT: self.transport.abort}
        self.scope["extensions"] = extensions

    def pause_writing(self) -> None:
        """The peer has to read before there is more."""
        super().pause_writing()
        self._stall = self._stall or self.loop.call_later(_STALL_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """It does."""
        super().resume_writing()
        self._unset_stall()

    def connection_lost(self, exc: Exception | None) -> None:
        """No need to cut any more."""
        super().connection_lost(exc)
        self._unset_stall()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing more was asked; what was answered may not be read either."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(_GRACE_SECONDS, self.transport.abort)

    def _unset_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
