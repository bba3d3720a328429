"""What `up` runs: each part's command, environment and health question. Keeping it running is the supervisor's job."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from notifiws.stack.postgres import PostgresServer
from notifiws.stack.probe import http_alive, postgres_alive, redis_alive
from notifiws.stack.process import spawn
from notifiws.stack.supervisor import Part
from notifiws.stack.valkey import ValkeyServer
from shared.settings import Settings

# How long nodes send their clients away when the whole stack stops: on one's own machine nobody waits for more.
DRAIN_SECONDS = 3.0


@dataclass(frozen=True)
class Surroundings:
    """What all parts of one stack share."""

    settings: Settings
    logs: Path
    database_url: str
    reader_url: str
    redis_url: str
    url: str
    shared_fd: int
    dashboard: Path | None

    def environment(self) -> dict[str, str]:
        """Ours, with what `up` decides written over it. The environment wins over `.env` in the parts too."""
        settings = self.settings
        given = settings.model_fields_set
        env = dict(os.environ)
        env["REDIS_URL"] = self.redis_url
        env["NOTIFIWS_HOST"] = settings.host
        if settings.on_loopback:
            if settings.auth is None:
                env["NOTIFIWS_AUTH"] = "none"
            if "allowed_origins" not in given:
                env["NOTIFIWS_ALLOWED_ORIGINS"] = "http://localhost:*,http://127.0.0.1:*"
            if "max_connections_per_ip" not in given:
                env["NOTIFIWS_MAX_CONNECTIONS_PER_IP"] = str(settings.max_connections)
        if "drain_seconds" not in given:
            env["NOTIFIWS_DRAIN_SECONDS"] = f"{DRAIN_SECONDS:g}"
        return env

    @property
    def stop_seconds(self) -> float:
        """The patience with a part that drains."""
        given = "drain_seconds" in self.settings.model_fields_set
        return (self.settings.drain_seconds if given else DRAIN_SECONDS) + 5.0


def postgres(server: PostgresServer) -> Part:
    """The embedded Postgres."""
    return Part(
        "postgres",
        "postgres",
        lambda: _process(server),
        alive=lambda timeout: postgres_alive(server.port, timeout),
        stop_signal=PostgresServer.death_signal,
        stop_seconds=20.0,
        expected_failure=server.lingering,
    )


def valkey(server: ValkeyServer) -> Part:
    """The embedded Valkey."""
    return Part(
        "valkey",
        "valkey",
        lambda: _process(server),
        alive=lambda timeout: redis_alive(server.port, timeout),
        stop_signal=ValkeyServer.death_signal,
    )


def listener(around: Surroundings, port: int) -> Part:
    """`notifiws listener`."""
    extra = {"DATABASE_URL": around.database_url, "NOTIFIWS_LISTENER_PORT": str(port)}
    return _service(around, "listener", "listener", arguments=["listener"], url=_url(around, port), extra=extra)


def node(around: Surroundings, number: int, port: int) -> Part:
    """`notifiws ws`, on a port of its own and on the shared socket. It gets the database only to read from."""
    reader = around.settings.reader_database_url
    extra = {
        "NOTIFIWS_PORT": str(port),
        "NOTIFIWS_SHARED_FD": str(around.shared_fd),
        "NOTIFIWS_READER_DATABASE_URL": reader.get_secret_value() if reader else around.reader_url,
    }
    if around.dashboard:
        extra["NOTIFIWS_DASHBOARD_DIR"] = str(around.dashboard)
    return _service(
        around,
        f"node {number}",
        "node",
        arguments=["ws"],
        url=_url(around, port),
        extra=extra,
        fds=(around.shared_fd,),
    )


def sales(around: Surroundings) -> Part:
    """The demo's generator of sales."""
    extra = {"DATABASE_URL": around.database_url}
    return _service(around, "demo", "demo", arguments=["demo-sales"], url=None, extra=extra)


def command(*arguments: str) -> list[str]:
    """`notifiws` with these arguments, by this very Python; the working directory's own modules stay out of it."""
    return [sys.executable, "-P", "-m", "notifiws.cli.app", *arguments]


def log_of(folder: Path, name: str) -> Path:
    """The log file of a part."""
    return folder / f"{name.replace(' ', '-')}.log"


def _service(
    around: Surroundings,
    name: str,
    kind: str,
    *,
    arguments: list[str],
    url: str | None,
    extra: Mapping[str, str],
    fds: tuple[int, ...] = (),
) -> Part:
    def launch() -> subprocess.Popen[bytes]:
        env = around.environment()
        if kind == "node":
            env.pop("DATABASE_URL", None)
        return spawn(
            command(*arguments),
            # A service has nothing to save: what it did is in the log, what it did not do is done by its successor.
            death_signal=signal.SIGKILL,
            log=log_of(around.logs, name),
            env={**env, **extra},
            pass_fds=fds,
            cwd=Path.cwd(),
        )

    return Part(
        name,
        kind,
        launch,
        alive=(lambda timeout: http_alive(f"{url}/healthz", timeout)) if url else None,
        url=url,
        stop_seconds=around.stop_seconds,
    )


def _url(around: Surroundings, port: int) -> str:
    return f"{around.url.rpartition(':')[0]}:{port}"


def _process(server: PostgresServer | ValkeyServer) -> subprocess.Popen[bytes]:
    server.launch()
    assert server.process
    return server.process
