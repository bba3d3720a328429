"""The composition root of `notifiws listener`: settings in, exit code out."""

import asyncio
import os
import signal
import socket
from typing import TypeVar

import uvloop
from prometheus_client import ProcessCollector

from db.migrate import SchemaError
from listener_service.health import application, serve
from listener_service.listener import Listener
from listener_service.metrics import Metrics
from listener_service.pace import PACE, Pace
from listener_service.publisher import RedisPublisher
from listener_service.session import PoolerFound
from shared import logs
from shared.codes import Unready
from shared.keys import Keys
from shared.listen import listen, listen_near
from shared.readiness import Readiness
from shared.redis_url import check_redis_url
from shared.settings import Settings, SettingsError, unknown_variables

log = logs.logger("app")

DONE, FAILED, POSTGRES, SCHEMA, PORT = 0, 1, 4, 6, 7


def run(settings: Settings, pace: Pace = PACE) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code. Raises SettingsError."""
    if settings.database_url is None:
        raise SettingsError("DATABASE_URL: not set; allowed: postgresql://user:password@host:port/database")
    redis_url = check_redis_url(settings.redis_url.get_secret_value() if settings.redis_url else None)
    logs.configure(settings.log_level, settings.log_format, "listener")
    try:
        sock = _listen(settings)
    except OSError as error:
        log.error(
            f"cannot listen on {settings.host} port {settings.listener_port}: {error.strerror or error}; "
            "choose another with NOTIFIWS_LISTENER_PORT"
        )
        return PORT
    for name in unknown_variables(os.environ):
        log.warning("this is no setting; docs/settings.md lists them", name=name)
    with sock:
        return uvloop.run(_main(settings, settings.database_url.get_secret_value(), redis_url, sock, pace))


async def _main(settings: Settings, database_url: str, redis_url: str, sock: socket.socket, pace: Pace) -> int:
    metrics = Metrics()
    ProcessCollector(registry=metrics.registry)
    readiness = Readiness(_say)
    publisher = RedisPublisher(
        redis_url,
        Keys(settings.namespace),
        max_age=settings.history,
        max_bytes=settings.history_bytes,
    )
    listener = Listener(
        database_url,
        publisher,
        retention=settings.retention,
        log_bytes=settings.log_bytes,
        live_query_seconds=settings.live_query_seconds,
        live_query_bytes=settings.live_query_bytes,
        emit_bytes=settings.emit_bytes,
        max_event_bytes=settings.max_event_bytes,
        readiness=readiness,
        metrics=metrics,
        pace=pace,
    )
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(listener.run())

    def stop() -> None:
        listener.stop()
        # What does not answer by then is left alone: a cut that is under way there is replayed by the next leader.
        loop.call_later(settings.drain_seconds * 0.9, running.cancel)

    def ended(_: object) -> None:
        stop()

    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop)
    health = asyncio.create_task(
        serve(application(readiness, metrics, lambda: listener.role, lambda: listener.failing), sock)
    )
    host, port = sock.getsockname()[:2]
    log.info("listener started", url=f"http://{host}:{port}")
    # Without its probes' answers it would be taken for dead: better to be started again.
    health.add_done_callback(ended)
    try:
        await running
        if health.done():
            log.error("the health endpoint ended by itself", reason=str(health.exception()))
            return FAILED
    except asyncio.CancelledError:
        log.warning("stopped before everything was put away", seconds=settings.drain_seconds)
        return DONE
    except BaseExceptionGroup as group:
        if pooler := _first(group, PoolerFound):
            log.error(str(pooler))
            return POSTGRES
        if schema := _first(group, SchemaError):
            log.error(str(schema), fix=schema.fix)
            return SCHEMA
        raise
    finally:
        health.remove_done_callback(ended)
        health.cancel()
        await asyncio.wait((health,))
    log.info("listener stopped")
    return DONE


E = TypeVar("E", bound=BaseException)


def _first(group: BaseExceptionGroup[BaseException], kind: type[E]) -> E | None:
    for error in group.exceptions:
        found = _first(error, kind) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(found, kind):
            return found
    return None


def _listen(settings: Settings) -> socket.socket:
    """The health port: where it was set, there or not at all; else the next free one. Raises OSError."""
    if "listener_port" in settings.model_fields_set:
        return listen(settings.host, settings.listener_port)
    return listen_near(
        settings.host,
        settings.listener_port,
        lambda port: log.warning("the health port is in use; taking the next free one", port=port),
    )


def _say(code: Unready, message: str | None) -> None:
    if message is None:
        log.info("ready again", code=str(code))
    else:
        log.warning("not ready", code=str(code), reason=message)
