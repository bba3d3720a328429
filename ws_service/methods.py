"""HTTP methods: `HEAD` wherever `GET` is, and which methods a path has. Leaves the paths to the endpoints."""

from typing import Final

from starlette.routing import Match, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Set in the scope of a `HEAD` request, for an answer that would never end.
BODILESS: Final = "notifiws.bodiless"
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")


def allowed(router: Router, scope: Scope) -> str:
    """The value of `Allow` for the path of this request; empty when no endpoint has the path."""
    found = [
        method
        for method in _METHODS
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in router.routes)
    ]
    if "GET" in found:
        found.insert(1, "HEAD")
    return ", ".join(found)


class HeadMiddleware:
    """Answers `HEAD` as `GET`, without the body. Beside each endpoint it would be forgotten at the next one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def bodiless(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
            elif not message.get("more_body", False):
                await send({"type": "http.response.body", "body": b""})

        await self._app({**scope, "method": "GET", BODILESS: True}, receive, bodiless)
