"""`/healthz`, `/readyz`, `/metrics`: for probes and Prometheus, not for the public edge."""

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from shared.metrics import CONTENT_TYPE, exposition
from ws_service.node import Node


def router(node: Node) -> APIRouter:
    """The endpoints, for this node."""
    routes = APIRouter()

    @routes.get("/healthz", summary="The event loop is alive")
    async def healthz() -> Response:
        return _json({"ok": True})

    @routes.get("/readyz", summary="Whether this node serves, and if not, why")
    async def readyz() -> Response:
        ready = node.readiness.ready
        body = {"ready": ready, "version": node.version, "reasons": node.readiness.reasons}
        return _json(body, 200 if ready else 503)

    @routes.get("/metrics", summary="Prometheus metrics")
    async def metrics() -> Response:
        return Response(exposition(node.metrics.registry), media_type=CONTENT_TYPE)

    return routes


def _json(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, {"cache-control": "no-store"}, "application/json")
