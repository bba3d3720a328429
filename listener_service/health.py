"""The listener's own HTTP: /healthz, /readyz, /metrics. For probes, not for the public edge."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from listener_service.metrics import Metrics
from shared.metrics import CONTENT_TYPE, exposition
from shared.readiness import Readiness


def application(
    readiness: Readiness,
    metrics: Metrics,
    role: Callable[[], str],
    failing: Callable[[], Mapping[str, str]] = dict,
) -> Starlette:
    """The three pages. `failing`: what is wrong with live queries, by channel; the listener is ready all the same."""

    release = version("notifiws")

    async def healthz(request: Request) -> Response:
        return JSONResponse({"alive": True})

    async def readyz(request: Request) -> Response:
        body: dict[str, object] = {"ready": readiness.ready, "role": role(), "version": release}
        body["reasons"] = readiness.reasons
        if readiness.warnings:
            body["warnings"] = readiness.warnings
        if errors := failing():
            body["live_queries"] = [{"channel": channel, "error": errors[channel]} for channel in sorted(errors)]
        return JSONResponse(body, 200 if readiness.ready else 503)

    async def scrape(request: Request) -> Response:
        return Response(exposition(metrics.registry), media_type=CONTENT_TYPE)

    return Starlette(
        routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", scrape)],
    )


class _Server(uvicorn.Server):
    """Signals are the composition root's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(app: Starlette, sock: socket.socket) -> None:
    """Serve until cancelled, on a bound socket. The last probe is answered."""
    config = uvicorn.Config(
        app,
        log_config=None,
        lifespan="off",
        access_log=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=1,
        ws="none",
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        await serving
