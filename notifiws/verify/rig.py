"""The stack under test: verify's own, in a folder of its own, or one that runs already and was lent to it.

Ours has two listeners and two nodes, kept running by the product's own supervisor, and a proxy in each link between
parts. Of a lent one only the parts' pids and addresses are known, and the links from clients to nodes are ours.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from notifiws.stack.database import prepare
from notifiws.stack.directory import DataDirectory
from notifiws.stack.errors import ServerFailed, StackError
from notifiws.stack.parts import command
from notifiws.stack.ports import free_port
from notifiws.stack.postgres import PostgresServer
from notifiws.stack.probe import http_alive, postgres_alive, readyz, redis_alive
from notifiws.stack.process import children_of, spawn, tail
from notifiws.stack.supervisor import Part, Supervisor
from notifiws.stack.valkey import ValkeyServer
from notifiws.verify.client import Node
from notifiws.verify.proxy import Link

_READY_SECONDS: Final = 90.0
_LISTENERS: Final = 2
_NODES: Final = 2


@dataclass(frozen=True)
class Target:
    """A part that things may be done to."""

    name: str
    kind: str
    pid: Callable[[], int | None]
    url: str | None
    stop_signal: signal.Signals = signal.SIGTERM

    def processes(self) -> list[int]:
        """Its process, and for Postgres those of its sessions."""
        pid = self.pid()
        if pid is None:
            return []
        return [pid, *children_of(pid)] if self.kind == "postgres" else [pid]

    async def role(self) -> str | None:
        """A listener's role, None when it does not answer."""
        return str((await readyz(self.url, 1.0)).body.get("role")) if self.url else None


@dataclass
class Rig:
    """What clients, writers and the nemesis need to know of a stack."""

    database_url: str
    redis_url: str
    nodes: list[Node]
    targets: list[Target]
    links: dict[str, list[Link]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def of(self, kind: str) -> list[Target]:
        """The parts of a kind."""
        return [target for target in self.targets if target.kind == kind]

    async def ready(self, seconds: float = _READY_SECONDS) -> None:
        """Wait until every service says that it is. Raises StackError."""
        waiting = [target for target in self.targets if target.url]
        why = ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while waiting:
                    answers = await asyncio.gather(*(readyz(str(target.url), 2.0) for target in waiting))
                    waiting = [target for target, answer in zip(waiting, answers, strict=True) if not answer.ready]
                    if waiting:
                        reasons = next(answer.reasons for answer in answers if not answer.ready)
                        why = reasons[0]["message"] if reasons else "no answer"
                        await asyncio.sleep(0.1)
                return
        names = ", ".join(target.name for target in waiting)
        raise StackError(f"{names} not ready after {seconds:.0f} s: {why}")


@asynccontextmanager
async def own(folder: Path) -> AsyncIterator[Rig]:
    """Start a stack in `folder`; stop it at the end. Raises StackError."""
    logs = folder / "log"
    logs.mkdir(parents=True)
    postgres = PostgresServer(folder / "postgres", log=logs / "postgres.log")
    valkey = ValkeyServer(folder / "valkey", log=logs / "valkey.log")
    said: list[str] = []
    supervisor = Supervisor(said.append, lambda: None)
    links: dict[str, list[Link]] = {}
    servers = [_postgres(postgres), _valkey(valkey)]
    services: list[Part] = []

    async def link(kind: str, name: str, port: int) -> Link:
        made = Link(name, "127.0.0.1", port)
        await made.start()
        links.setdefault(kind, []).append(made)
        return made

    try:
        await asyncio.to_thread(postgres.initialize)
        valkey.initialize()
        supervisor.start(*servers)
        await _accepting(postgres, servers[0])
        await asyncio.to_thread(postgres.bootstrap)
        await _accepting(valkey, servers[1])
        await prepare(postgres.url, demo=False, reader_password=postgres.reader_password)
        nodes: list[Node] = []
        for number in range(1, _LISTENERS + 1):
            name = f"listener {number}"
            to_postgres = await link("listener-postgres", name, postgres.port)
            to_redis = await link("listener-redis", name, valkey.port)
            env = {
                "DATABASE_URL": _through(postgres.url, to_postgres),
                "REDIS_URL": _through(valkey.url, to_redis),
                "NOTIFIWS_LISTENER_PORT": str(port := free_port()),
            }
            services.append(_service(name, ["listener"], port, env, logs))
        for number in range(1, _NODES + 1):
            name = f"node {number}"
            to_redis = await link("node-redis", name, valkey.port)
            to_postgres = await link("node-postgres", name, postgres.port)
            port = free_port()
            env = {
                "REDIS_URL": _through(valkey.url, to_redis),
                "NOTIFIWS_READER_DATABASE_URL": _through(postgres.reader_url, to_postgres),
                "NOTIFIWS_PORT": str(port),
                "NOTIFIWS_AUTH": "none",
                "NOTIFIWS_DRAIN_SECONDS": "3",
            }
            services.append(_service(name, ["ws"], port, env, logs))
            to_node = await link("client-node", name, port)
            nodes.append(Node(name, f"http://127.0.0.1:{to_node.port}"))
        supervisor.start(*services)
        rig = Rig(postgres.url, valkey.url, nodes, [_target(part) for part in (*servers, *services)], links, said)
        await rig.ready()
        yield rig
    finally:
        at_once = asyncio.Event()
        for part in (*services, *servers):
            # A part that is stopped still could not even be ended politely.
            with contextlib.suppress(ProcessLookupError):
                if part.pid:
                    os.kill(part.pid, signal.SIGCONT)
        for group in (services, servers):
            if group is services:
                await supervisor.stop(*(part for part in group if part in supervisor.parts), at_once=_set())
            else:
                await supervisor.stop(*(part for part in group if part in supervisor.parts), at_once=at_once)
        for link_ in (each for of_kind in links.values() for each in of_kind):
            await link_.stop()


@asynccontextmanager
async def attached(directory: DataDirectory) -> AsyncIterator[Rig]:
    """A stack that runs in a data directory. It is asked to be ready first; it is left as it is. Raises StackError."""
    state = directory.running()
    if state is None:
        raise StackError(f"no stack runs in {directory.path}", "notifiws up, or leave --attach out")
    links: dict[str, list[Link]] = {}
    nodes = []
    targets = []

    def pid_of(name: str) -> Callable[[], int | None]:
        def pid() -> int | None:
            now = directory.running()
            return next((part["pid"] for part in now["parts"] if part["name"] == name), None) if now else None

        return pid

    try:
        for part in state["parts"]:
            if part["kind"] == "demo":
                continue
            targets.append(Target(part["name"], part["kind"], pid_of(part["name"]), part["url"]))
            if part["kind"] == "node" and part["url"]:
                at = urlsplit(part["url"])
                made = Link(part["name"], at.hostname or "127.0.0.1", at.port or 80)
                await made.start()
                links.setdefault("client-node", []).append(made)
                nodes.append(Node(part["name"], f"http://127.0.0.1:{made.port}"))
        rig = Rig(state["database_url"], state["redis_url"], nodes, targets, links)
        await rig.ready(20.0)
        yield rig
    finally:
        for of_kind in links.values():
            for each in of_kind:
                await each.stop()


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


def _through(url: str, link: Link) -> str:
    """The same address, by way of the proxy."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{link.port}").geturl()


def _target(part: Part) -> Target:
    return Target(part.name, part.kind, lambda: part.pid, part.url, part.stop_signal)


async def _accepting(server: PostgresServer | ValkeyServer, part: Part) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(60):
            while not server.accepting():
                if part.vitals.failures > 6:
                    break
                await asyncio.sleep(0.02)
            else:
                return
    raise ServerFailed(f"{part.name} does not start; its log {server.log} ends:\n{tail(server.log)}")


def _postgres(server: PostgresServer) -> Part:
    def alive(timeout: float) -> Awaitable[bool]:
        return postgres_alive(server.port, timeout)

    return Part(
        "postgres", "postgres", lambda: _launched(server), alive=alive, stop_signal=PostgresServer.death_signal,
        stop_seconds=20.0, expected_failure=server.lingering,
    )  # fmt: skip


def _valkey(server: ValkeyServer) -> Part:
    def alive(timeout: float) -> Awaitable[bool]:
        return redis_alive(server.port, timeout)

    return Part("valkey", "valkey", lambda: _launched(server), alive=alive, stop_signal=ValkeyServer.death_signal)


def _launched(server: PostgresServer | ValkeyServer) -> "subprocess.Popen[bytes]":
    server.launch()
    assert server.process
    return server.process


def _service(name: str, words: list[str], port: int, env: Mapping[str, str], logs: Path) -> Part:
    url = f"http://127.0.0.1:{port}"
    inherited = {
        key: value
        for key, value in os.environ.items()
        if key not in ("DATABASE_URL", "REDIS_URL") and not key.startswith("NOTIFIWS_")
    }

    def launch() -> "subprocess.Popen[bytes]":
        return spawn(
            command(*words),
            death_signal=signal.SIGKILL,
            log=logs / f"{name.replace(' ', '-')}.log",
            env={**inherited, "NOTIFIWS_HOST": "127.0.0.1", **env},
            # Not the caller's directory: its `.env` is not meant for this stack.
            cwd=logs,
        )

    def alive(timeout: float) -> Awaitable[bool]:
        return http_alive(f"{url}/healthz", timeout)

    return Part(name, name.partition(" ")[0], launch, alive=alive, url=url)
