"""The composition root of a node: the FastAPI app, and the process around it."""

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncIterator

import uvloop
from fastapi import FastAPI

from shared import logs
from shared.settings import Settings, SettingsError, unknown_variables
from ws_service import errors
from ws_service.cors import Cors
from ws_service.endpoints import dashboard, health, http, plain, sse, v1
from ws_service.endpoints.nowhere import Nowhere
from ws_service.gate import GateMiddleware, origin_pattern
from ws_service.methods import HeadMiddleware
from ws_service.node import Node
from ws_service.server import NodeServer, bind

# Whoever sets one of these means to keep somebody out.
_OF_JWT = ("jwt_secret", "jwt_jwks_url", "jwt_algorithms", "jwt_audience", "jwt_issuer", "cookie")
_EXIT_FAILED = 1
_EXIT_IN_USE = 7


def check_settings(settings: Settings) -> None:
    """What a node cannot start with. Raises SettingsError with the mend."""
    if settings.auth == "jwt":
        raise SettingsError(
            "NOTIFIWS_AUTH: read 'jwt'; unsupported in this release; "
            "allowed: none, and keep the port away from strangers"
        )
    of_jwt = [f"NOTIFIWS_{name.upper()}" for name in _OF_JWT if name in settings.model_fields_set]
    if settings.auth is None and of_jwt:
        raise SettingsError(
            f"{', '.join(of_jwt)}: set, and NOTIFIWS_AUTH is not; tokens are unsupported in this release and would be "
            "checked by nobody; unset this, or set NOTIFIWS_AUTH=none to open every channel to whoever connects"
        )
    if settings.auth is None and not settings.on_loopback:
        raise SettingsError(
            f"NOTIFIWS_AUTH: not set, and NOTIFIWS_HOST {settings.host!r} is reachable by others; "
            "set NOTIFIWS_AUTH=none to open every channel to whoever connects, or NOTIFIWS_HOST=127.0.0.1"
        )


def create_app(settings: Settings) -> FastAPI:
    """The node as an ASGI app; its parts run during the lifespan. Raises SettingsError."""
    check_settings(settings)
    node = Node(settings)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with node.running():
            yield

    app = FastAPI(
        title="notifiws node",
        version=node.version,
        summary="What a Postgres transaction commits, every entitled browser sees within milliseconds.",
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,
        openapi_url="/openapi.json",
    )
    app.state.node = node
    errors.install(app)
    for part in (health, http, sse, v1, plain):
        app.include_router(part.router(node))
    folder = settings.dashboard_dir
    app.router.default = Nowhere(None if folder is None else dashboard.Dashboard(folder))
    app.add_middleware(Cors, pattern=origin_pattern(settings.allowed_origins))
    app.add_middleware(GateMiddleware, gate=node.gate)
    app.add_middleware(HeadMiddleware)
    return app


def _leave_at_once() -> None:
    """The drain time is over: whoever waits for our end must not wait for a defect of ours."""
    logs.logger("app").error("the node did not stop in its drain time; leaving at once")
    os._exit(0)


def run(settings: Settings) -> int:
    """Run a node until a signal; blocks and returns the exit code. Raises SettingsError."""
    logs.configure(settings.log_level, settings.log_format, "ws")
    log = logs.logger("app")
    app = create_app(settings)
    try:
        sockets = bind(settings)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            log.error(f"port {settings.port} of {settings.host} is in use; choose another with --port or NOTIFIWS_PORT")
            return _EXIT_IN_USE
        log.error(f"cannot listen on {settings.host} port {settings.port}: {error.strerror or error}")
        return _EXIT_FAILED
    for name in unknown_variables(os.environ):
        log.warning("this is no setting; docs/settings.md lists them", name=name)
    if settings.reader_database_url is not None:
        log.info("positions older than the Redis window are answered from the log")
    server = NodeServer(app, app.state.node, _leave_at_once)
    host, port = sockets[0].getsockname()[:2]
    log.info("listening", host=host, port=port, shared=settings.shared_fd is not None, node=app.state.node.name)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.run_on(sockets))
    log.info("stopped")
    return _EXIT_FAILED if server.broken else 0
