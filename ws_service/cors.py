"""CORS: which pages may read answers, by the list of origins of the gate.

A refused preflight has the body of every error.
"""

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from shared.codes import ErrorCode
from ws_service.errors import error_response

_METHODS = ("GET", "POST")
_HEADERS = ("Authorization",)


class Cors(CORSMiddleware):
    """GET and POST with `Authorization`, from origins that match `pattern`; never any origin with credentials."""

    def __init__(self, app: ASGIApp, pattern: str) -> None:
        super().__init__(
            app,
            allow_origin_regex=pattern,
            allow_methods=_METHODS,
            allow_headers=_HEADERS,
            allow_credentials=True,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """The answer to a preflight."""
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        own = ("content-length", "content-type")
        headers = {name: value for name, value in response.headers.items() if name not in own}
        if not self.is_allowed_origin(request_headers["origin"]):
            return error_response(
                403,
                ErrorCode.FORBIDDEN,
                "pages of this origin may not read from this node",
                "list the page's origin in NOTIFIWS_ALLOWED_ORIGINS",
                **headers,
            )
        return error_response(
            400,
            ErrorCode.BAD_FIELD,
            "pages of other origins may not use this method, or one of these headers",
            f"use {' or '.join(_METHODS)}, with no header but {', '.join(_HEADERS)}",
            **headers,
        )
