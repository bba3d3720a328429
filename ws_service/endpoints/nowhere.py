"""What no endpoint answers: sockets are told so by a close code, API paths by the JSON 404; the dashboard has the rest.

It is the router's default and not a mount at `/`: a mount takes every request, and with it the chance to say that a
path is known and only the method is wrong.
"""

from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.codes import CloseCode
from ws_service.gate import close_socket

# First segments of paths that are the API's, whatever a browser's `Accept` says.
_API: Final = frozenset(
    {"channels", "ws", "sse", "tickets", "healthz", "readyz", "metrics", "docs", "asyncapi.json", "openapi.json"}
)
_REASON: Final = "no WebSocket at this path; /ws with subprotocol notifiws.v1, or /ws/CHANNEL"


class Nowhere:
    """The application behind all endpoints. `dashboard` may be None: then nothing else is here."""

    def __init__(self, dashboard: ASGIApp | None) -> None:
        self._dashboard = dashboard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI. Raises HTTPException."""
        if scope["type"] == "websocket":
            await close_socket(scope, receive, send, CloseCode.MALFORMED, _REASON)
        elif self._dashboard is None or scope["path"].lstrip("/").partition("/")[0] in _API:
            raise HTTPException(404)
        else:
            await self._dashboard(scope, receive, send)
