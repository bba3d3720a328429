"""Query parameters of HTTP endpoints: which there may be. Their values are the endpoints' own business."""

from typing import Any

from fastapi import Depends, Request

from shared.codes import ErrorCode
from ws_service.errors import HttpError


def takes(*names: str) -> Any:
    """A dependency that lets these parameters in, each once. What would be ignored is refused: a leak or a surprise."""

    async def check(request: Request) -> None:
        query = request.query_params
        # Who may ask comes before what is asked.
        if "ticket" in query:
            message = "the ticket is refused: tickets are not supported in this release"
            raise HttpError(401, ErrorCode.UNAUTHENTICATED, message, "ask without one")
        if "filter" in query:
            message = "filters are not supported in this release"
            raise HttpError(501, ErrorCode.UNSUPPORTED, message, "ask without filter, and choose among the events")
        for name in query:
            shown = ascii(name[:40])
            if name not in names:
                fix = f"known here: {', '.join(names)}" if names else "ask without parameters"
                raise HttpError(400, ErrorCode.BAD_FIELD, f"unknown parameter {shown}", fix)
            if len(query.getlist(name)) > 1:
                raise HttpError(400, ErrorCode.BAD_FIELD, f"parameter {shown} is given twice", "give it once")

    return Depends(check)
