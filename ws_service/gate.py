"""Who may knock: `Host`, `Origin` and credentials in the wrong place. The first thing that sees a request.

Origins: browsers send them, and only they; the check is what keeps another site's page from using its visitor's
network or cookies. `Host` (with `NOTIFIWS_AUTH=none`): keeps a name that was rebound to this address out. What is
refused by status here a browser cannot tell from a dead server; all later refusals accept and close with a code.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.codes import CloseCode, ErrorCode
from shared.settings import Settings
from ws_service.errors import error_response

# Probes send any Host. It is all they are free of.
EXEMPT: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_TOKEN_NAMES: Final = frozenset({"token", "access_token", "jwt"})
_PORTS: Final = {"http": "80", "https": "443"}
_AUTHORITY: Final = re.compile(r"(?:([a-z0-9._-]+)|\[([0-9a-f:.]+)\])(?::([0-9]{1,5}))?", re.ASCII).fullmatch


def origin_pattern(origins: Iterable[str]) -> str:
    """A regular expression for these origins, `*` as any port. Never matches when there are none."""
    return "|".join(re.escape(origin.lower()).replace(r":\*", r"(?::\d{1,5})?") for origin in origins) or r"(?!)"


class Gate:
    """The checks as plain functions of header values."""

    def __init__(self, settings: Settings) -> None:
        self._origin = re.compile(origin_pattern(settings.allowed_origins)).fullmatch
        listed = (origin.lower().replace(":*", "").partition("://")[2] for origin in settings.allowed_origins)
        self._hosts = {authority[0] for host in listed if (authority := _authority(host, "http"))}
        self._open = settings.auth != "jwt"

    def origin(self, origin: str | None, host: str | None) -> bool:
        """Whether a page of this origin may connect. No origin: not a browser."""
        if origin is None:
            return True
        origin = origin.lower()
        if self._origin(origin):
            return True
        scheme, _, authority = origin.partition("://")
        if scheme not in _PORTS:
            return False
        own = _authority(host, scheme)
        return own is not None and own == _authority(authority, scheme)

    def host(self, host: str | None) -> bool:
        """Whether this node may be called by that name."""
        if not self._open:
            return True
        authority = _authority(host, "http")
        if authority is None:
            return False
        name = authority[0]
        if name == "localhost" or name in self._hosts:
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False


class GateMiddleware:
    """Refuses with HTTP 403 (`Origin`, `Host`), or 401 and 4401 (a token in the query string)."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        websocket = scope["type"] == "websocket"
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        exempt = not websocket and scope["path"] in EXEMPT
        if not exempt and (len(hosts) > 1 or not self._gate.host(hosts[0] if hosts else None)):
            refusal = error_response(
                403,
                ErrorCode.FORBIDDEN,
                "this node does not go by the Host that was asked for",
                "use 127.0.0.1 or localhost, or list http://HOST in NOTIFIWS_ALLOWED_ORIGINS",
            )
            await _refuse(refusal, scope, receive, send)
        elif (websocket or scope["path"].startswith("/sse")) and (
            len(origins) > 1 or not self._gate.origin(origins[0] if origins else None, hosts[0] if hosts else None)
        ):
            refusal = error_response(
                403,
                ErrorCode.FORBIDDEN,
                "pages of this origin may not connect",
                "list the page's origin in NOTIFIWS_ALLOWED_ORIGINS",
            )
            await _refuse(refusal, scope, receive, send)
        elif _has_token(scope):
            if websocket:
                await close_socket(
                    scope, receive, send, CloseCode.UNAUTHENTICATED, "a token in the query string is refused"
                )
            else:
                refusal = error_response(
                    401,
                    ErrorCode.UNAUTHENTICATED,
                    "a token in the query string is refused: it would end up in logs",
                    "send it as Authorization: Bearer",
                )
                await _refuse(refusal, scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _authority(text: str | None, scheme: str) -> tuple[str, str] | None:
    """Name and port of `host[:port]`; None when it is something else."""
    match = _AUTHORITY((text or "").lower())
    return (match[1] or match[2], match[3] or _PORTS[scheme]) if match else None


def _has_token(scope: Scope) -> bool:
    query: bytes = scope.get("query_string", b"")
    if not query:
        return False
    return any(name.lower() in _TOKEN_NAMES for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True))


async def _refuse(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1000})
            return
    await response(scope, receive, send)


async def close_socket(scope: Scope, receive: Receive, send: Send, code: CloseCode, reason: str) -> None:
    """Accept, then close: browsers cannot read why a handshake was refused."""
    await receive()
    # A browser that offered subprotocols drops a connection that has none of them, before it reads the close.
    offered = scope.get("subprotocols") or [None]
    await send({"type": "websocket.accept", "subprotocol": offered[0]})
    await send({"type": "websocket.close", "code": int(code), "reason": reason})
