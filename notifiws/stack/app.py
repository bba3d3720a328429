"""`notifiws up`: the composition root of the embedded stack. Brings it up in order, says where it is, takes it down."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from notifiws.stack import dashboard, logfile, parts
from notifiws.stack.directory import DataDirectory, StackState
from notifiws.stack.errors import InUse, ServerFailed, StackError
from notifiws.stack.parts import Surroundings
from notifiws.stack.ports import free_port
from notifiws.stack.postgres import PostgresServer
from notifiws.stack.probe import readyz
from notifiws.stack.process import tail
from notifiws.stack.supervisor import Part, Supervisor, by_kind
from notifiws.stack.valkey import ValkeyServer
from notifiws.version import version
from shared.listen import listen, listen_near
from shared.settings import Settings

DEFAULT_PORT = 8000
READY_SECONDS = 30.0
# A part that ends with one of these at its start will do so again: a setting, a pooler before Postgres, the schema.
_HOPELESS = (2, 4, 6)


@dataclass(frozen=True)
class Options:
    """What was asked of `up`. `port` None: the default, or the next free one; `demo` None: as the contract says."""

    directory: DataDirectory
    settings: Settings
    port: int | None = None
    nodes: int = 2
    demo: bool | None = None


class PartFailed(StackError):
    """A part ended at its start in a way that a restart does not mend."""

    def __init__(self, part: Part, log: Path) -> None:
        super().__init__(f"{part.name} does not start; its log {log} ends:\n{tail(log)}")
        self.exit_code = part.last_exit or 1


def run(options: Options, ready: Callable[["Stack"], None], say: Callable[[str], None]) -> None:
    """Run a stack until it is told to stop. `ready` hears once that all is there, `say` every event after it.

    Raises StackError when it does not come up, and whatever the migration raises.
    """
    with options.directory.hold(), _shared_socket(options, say) as shared:
        asyncio.run(Stack(options, shared, say).run(ready))


def _shared_socket(options: Options, say: Callable[[str], None]) -> socket.socket:
    """The shared endpoint. Every node accepts from this one socket, so no connection is queued for a dead node."""
    host = options.settings.host
    try:
        if options.port is not None:
            return listen(host, options.port)
        return listen_near(host, DEFAULT_PORT, lambda port: say(f"port {DEFAULT_PORT} is in use; taking {port}"))
    except OSError as error:
        raise InUse(
            f"cannot listen on {host}:{options.port or DEFAULT_PORT}: {error.strerror}",
            "give another --port, or none: then a free one is taken",
        ) from error


class Stack:
    """One running stack."""

    def __init__(self, options: Options, shared: socket.socket, say: Callable[[str], None]) -> None:
        self.options = options
        self.directory = options.directory
        self.say = say
        self._no_dashboard = dashboard.missing()
        self.dashboard = "skipped" if self._no_dashboard else "waiting"
        self._shared = shared
        self._phase = "starting"
        self._dirty = asyncio.Event()
        self._stop = asyncio.Event()
        self._at_once = asyncio.Event()
        self._told_at: float | None = None
        self._background: list[asyncio.Task[None]] = []
        self._supervisor = Supervisor(say, self._dirty.set)
        settings, identity = options.settings, self.directory.identity()
        known = identity["ports"]
        self.ports: dict[str, int] = {}

        def port_of(name: str, host: str = "127.0.0.1") -> int:
            self.ports[name] = free_port(host, preferred=known.get(name))
            return self.ports[name]

        self.postgres = (
            None
            if settings.database_url
            else PostgresServer(
                self.directory.path / "postgres",
                port=port_of("postgres"),
                superuser_password=identity["superuser_password"],
                owner_password=identity["owner_password"],
                log=self.directory.logs / "postgres.log",
            )
        )
        self.valkey = (
            None
            if settings.redis_url
            else ValkeyServer(
                self.directory.path / "valkey",
                port=port_of("valkey"),
                password=identity["valkey_password"],
                log=self.directory.logs / "valkey.log",
            )
        )
        self.demo = options.demo if options.demo is not None else self.postgres is not None
        self.url = settings.local_url(shared.getsockname()[1])
        self.around = Surroundings(
            settings=settings,
            logs=self.directory.logs,
            database_url=self.postgres.url if self.postgres else _secret(settings.database_url),
            reader_url=self.postgres.reader_url if self.postgres else _secret(settings.database_url),
            redis_url=self.valkey.url if self.valkey else _secret(settings.redis_url),
            url=self.url,
            shared_fd=shared.fileno(),
            dashboard=None if self._no_dashboard and not dashboard.built() else dashboard.OUT,
        )
        self._servers = [
            *([parts.postgres(self.postgres)] if self.postgres else []),
            *([parts.valkey(self.valkey)] if self.valkey else []),
        ]
        self._services = [
            parts.listener(self.around, port_of("listener", settings.host)),
            *(parts.node(self.around, n, port_of(f"node {n}", settings.host)) for n in range(1, options.nodes + 1)),
        ]
        self._demo = [parts.sales(self.around)] if self.demo else []

    @property
    def parts(self) -> list[Part]:
        """Every part, running or not."""
        return [*self._servers, *self._services, *self._demo]

    async def run(self, ready: Callable[["Stack"], None]) -> None:
        """Up, then wait, then down."""
        self._listen_to_signals()
        self.directory.remember_ports(self.ports)
        self._write_state()
        state = asyncio.create_task(self._keep_state())
        self._background = [state, asyncio.create_task(self._bound_logs())]
        try:
            await self._unless_stopped(self._bring_up(ready))
            await self._unless_stopped(self._stop.wait())
        finally:
            for task in self._background[1:]:
                task.cancel()
            await self._take_down()
            state.cancel()
            await asyncio.gather(*self._background, return_exceptions=True)

    # Up

    async def _bring_up(self, ready: Callable[["Stack"], None]) -> None:
        await asyncio.gather(self._start_postgres(), self._start_valkey())
        await self._prepare_database()
        self._supervisor.start(*self._services, *self._demo)
        await self._until_ready()
        self._phase = "running"
        self._write_state()
        ready(self)
        # Only now: a build is nice to the processors, but not to the disk that a start waits for.
        self._background.append(asyncio.create_task(self._build_dashboard()))

    async def _start_postgres(self) -> None:
        if self.postgres is None:
            return
        if not (self.postgres.data / "PG_VERSION").exists():
            self.say("creating a database cluster")
        await asyncio.to_thread(self.postgres.initialize)
        await self._start_server(self.postgres, by_kind(self._servers, "postgres"))
        await asyncio.to_thread(self.postgres.bootstrap)

    async def _start_valkey(self) -> None:
        if self.valkey is not None:
            self.valkey.initialize()
            await self._start_server(self.valkey, by_kind(self._servers, "valkey"))

    async def _start_server(self, server: PostgresServer | ValkeyServer, part: list[Part]) -> None:
        self._supervisor.start(*part)
        deadline = time.monotonic() + 60
        while not server.accepting():
            if time.monotonic() > deadline or part[0].vitals.failures > 6:
                raise ServerFailed(f"{part[0].name} does not start; its log {server.log} ends:\n{tail(server.log)}")
            await asyncio.sleep(0.01)

    async def _prepare_database(self) -> None:
        from notifiws.stack.database import prepare

        reader_password = self.postgres.reader_password if self.postgres else None
        await prepare(self.around.database_url, demo=self.demo, reader_password=reader_password)

    async def _until_ready(self) -> None:
        """Wait until every service is ready; after READY_SECONDS say which is not, and go on: it may recover."""
        deadline = time.monotonic() + READY_SECONDS
        waiting = {part.name: part for part in self._services}
        last: dict[str, str] = {}
        while waiting:
            answers = await asyncio.gather(*(readyz(str(part.url), 1.0) for part in waiting.values()))
            for part, answer in zip(list(waiting.values()), answers, strict=True):
                if answer.ready and part.pid:
                    del waiting[part.name]
                elif part.last_exit in _HOPELESS:
                    raise PartFailed(part, parts.log_of(self.directory.logs, part.name))
                elif answer.reasons:
                    last[part.name] = answer.reasons[0]["message"]
            if waiting and time.monotonic() > deadline:
                for name in waiting:
                    self.say(f"{name} is not ready yet: {last.get(name, 'no answer')}")
                return
            await asyncio.sleep(0.05)

    async def _build_dashboard(self) -> None:
        if self._no_dashboard:
            self.say(f"dashboard skipped: {self._no_dashboard}")
            return
        self.dashboard = "building" if dashboard.stale() else "ready"
        self._write_state()
        if self.dashboard == "building":
            self.dashboard = await dashboard.build_in_background(self.directory.logs / "dashboard.log", self.say)
            self._write_state()

    # Down

    async def _take_down(self) -> None:
        self._phase = "stopping"
        self._write_state()
        # First who writes, then who relays and serves, last where it is kept.
        for group in (self._demo, self._services, self._servers):
            await self._supervisor.stop(*group, at_once=self._at_once)
            if group is self._services:
                # Nobody accepts any more: refuse, and do not let clients wait in the queue.
                self._shared.close()

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # nohup's wish counts.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                loop.add_signal_handler(number, self._told_to_stop)

    def _told_to_stop(self) -> None:
        """The first signal stops in order, one more than a second later at once.

        Not the second alone: make passes on what the terminal already sent to the whole group.
        """
        now = time.monotonic()
        if self._told_at is None:
            self._told_at = now
            self.say("stopping")
            self._stop.set()
        elif now - self._told_at > 1.0:
            self._at_once.set()

    async def _unless_stopped(self, work: Coroutine[None, None, object]) -> None:
        """Do `work` until it is done, we are told to stop, or something of ours fails beside it."""
        stop = asyncio.create_task(self._stop.wait())
        main = asyncio.create_task(work)
        faults = asyncio.create_task(self._supervisor.failed())
        try:
            while not (stop.done() or main.done()):
                beside = {task for task in self._background if not task.done()}
                done, _ = await asyncio.wait({stop, main, faults, *beside}, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in (stop, main, faults):
                task.cancel()
            await asyncio.gather(stop, main, faults, return_exceptions=True)

    # What others see

    async def _keep_state(self) -> None:
        while True:
            await self._dirty.wait()
            self._write_state()

    def _write_state(self) -> None:
        self._dirty.clear()
        state: StackState = {
            "phase": self._phase,  # type: ignore[typeddict-item]
            "pid": os.getpid(),
            "version": version(),
            "url": self.url,
            "database_url": self.around.database_url,
            "redis_url": self.around.redis_url,
            "data_dir": str(self.directory.path),
            "namespace": self.options.settings.namespace,
            "dashboard": self.dashboard,
            "parts": [
                {
                    "name": part.name,
                    "kind": part.kind,  # type: ignore[typeddict-item]
                    "pid": part.pid,
                    "url": part.url,
                    "launches": part.vitals.launches,
                }
                for part in self.parts
            ],
        }
        try:
            self.directory.write(state)
        except OSError as error:
            self.say(f"cannot write the state file in {self.directory.path}: {error.strerror}")

    async def _bound_logs(self) -> None:
        while True:
            await asyncio.sleep(5.0)
            logfile.rotate(self.directory.logs)


def _secret(value: SecretStr | None) -> str:
    return value.get_secret_value() if value else ""
