"""Errors over HTTP: `{"error": {"code", "message", "fix"}}`, whatever goes wrong."""

from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from shared.codes import ErrorCode, Lost
from shared.logs import logger
from ws_service.methods import allowed

_STATUS_CODES = {
    400: ErrorCode.BAD_FIELD,
    401: ErrorCode.UNAUTHENTICATED,
    403: ErrorCode.FORBIDDEN,
    404: "not_found",
    405: "not_found",
    429: ErrorCode.LIMIT,
    501: ErrorCode.UNSUPPORTED,
    503: ErrorCode.UNAVAILABLE,
}


class HttpError(Exception):
    """A refusal, raised anywhere in an HTTP endpoint."""

    def __init__(self, status: int, code: ErrorCode | Lost | str, message: str, fix: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.fix = fix


def error_response(status: int, code: str, message: str, fix: str | None = None, **headers: str) -> Response:
    """The body of every error."""
    body = msgspec.json.encode({"error": {"code": str(code), "message": message, "fix": fix}})
    return Response(body, status, {"cache-control": "no-store", **headers}, "application/json")


def install(app: FastAPI) -> None:
    """Make every error of `app` have that body."""

    @app.exception_handler(HttpError)
    async def refused(_: Request, error: HttpError) -> Response:
        return error_response(error.status, error.code, error.message, error.fix)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        code = _STATUS_CODES.get(error.status_code, ErrorCode.INTERNAL)
        message, headers = str(error.detail), dict(error.headers or {})
        if error.status_code == 404:
            message = "there is nothing at this path"
        elif error.status_code == 405:
            # The router names the methods of one endpoint of the path only.
            headers["Allow"] = allowed(app.router, request.scope) or headers.get("Allow", "")
            message = f"{request.method} is not possible here, {headers['Allow']} is"
        return error_response(error.status_code, code, message, "see /docs", **headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        problem: Any = error.errors()[0]
        where = str(problem["loc"][-1])
        return error_response(400, ErrorCode.BAD_FIELD, f"{where}: {problem['msg']}", "see /docs")

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        logger("http").error("request failed", error=type(error).__name__)
        return error_response(500, ErrorCode.INTERNAL, "the node failed to answer; its log says why")
