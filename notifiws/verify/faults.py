"""What may be done to a stack: each fault by its name, what it needs, and how it is done and undone."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import redis.asyncio as redis

from notifiws.verify.proxy import Mode
from notifiws.verify.rig import Rig, Target
from notifiws.verify.statements import statement
from notifiws.verify.workload import FAILURES, connect

LINKS: Final = ("listener-postgres", "listener-redis", "node-redis", "node-postgres", "client-node")
PARTS: Final = ("listener", "node", "valkey", "postgres")
_HELD: Final = ("freeze", "half-open", "one-way", "slow")
_WORDS: Final = {
    "kill": "SIGKILL",
    "restart": "a polite stop, and started again by the supervisor",
    "freeze": "SIGSTOP, SIGCONT later",
    "half-open": "the link swallows all bytes, nobody is told",
    "one-way": "the link swallows the server's answers",
    "slow": "the link passes 50 KB/s, late",
    "reset": "all connections of the link are reset",
    "pubsub": "CLIENT KILL TYPE pubsub",
    "flush": "FLUSHALL",
    "terminate": "pg_terminate_backend of every session of listeners and nodes",
    "rolling": "every node in turn: SIGTERM, ready again, next",
}


@dataclass(frozen=True, order=True)
class Fault:
    """One kind of fault at one kind of place."""

    kind: str
    target: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.target}"

    @property
    def lasts(self) -> bool:
        """Whether it has to be undone."""
        return self.kind in _HELD

    @property
    def words(self) -> str:
        """What is done, for people."""
        return _WORDS[self.kind]


CATALOGUE: Final = (
    *(Fault("kill", part) for part in PARTS),
    *(Fault("restart", part) for part in ("listener", "valkey", "postgres")),
    *(Fault("freeze", part) for part in PARTS),
    *(Fault(kind, link) for kind in ("half-open", "one-way", "slow", "reset") for link in LINKS),
    Fault("pubsub", "valkey"),
    Fault("flush", "valkey"),
    Fault("terminate", "listener"),
    Fault("rolling", "node"),
)
_ALIASES: Final = {"cut": ("half-open", "one-way", "slow", "reset")}


SCENARIOS: Final = {
    "crash": "kill,restart,rolling",
    "freeze": "freeze",
    "network": "cut,pubsub",
    "redis": "valkey,listener-redis,node-redis",
    "postgres": "postgres,listener-postgres,node-postgres,terminate",
    "takeover": "listener,listener-postgres",
    "nodes": "node,client-node",
}


class UnknownFault(ValueError):
    """No fault has this name."""


def chosen(text: str) -> list[Fault]:
    """`all`, `none`, or names separated by commas: `kill`, `kill:node`, `cut`, `node-redis`. Raises UnknownFault."""
    found: dict[Fault, None] = {}
    for name in (part.strip() for part in text.split(",")):
        if name in ("", "none"):
            continue
        kinds = _ALIASES.get(name, (name,))
        matching = [
            fault for fault in CATALOGUE if name == "all" or fault.kind in kinds or name in (str(fault), fault.target)
        ]
        if not matching:
            raise UnknownFault(name)
        found |= dict.fromkeys(matching)
    return list(found)


def possible(faults: Sequence[Fault], rig: Rig) -> list[Fault]:
    """Those that this stack lets us do: in a lent one there is no proxy between its parts."""
    kinds = {target.kind for target in rig.targets}
    return [
        fault
        for fault in faults
        if (
            fault.target in rig.links
            if fault.target in LINKS
            else fault.target in kinds or fault.kind in ("pubsub", "flush")
        )
    ]


@asynccontextmanager
async def done(fault: Fault, rig: Rig, chance: Random) -> AsyncIterator[str]:
    """Do it; undo it at the end of the block, whatever happens. Yields what was hit."""
    if fault.target in LINKS:
        links = rig.links[fault.target]
        # Now and then all of them: a switch dies, not a cable.
        hit = links if chance.random() < 0.3 else [chance.choice(links)]
        try:
            for link in hit:
                link.cut() if fault.kind == "reset" else link.set(Mode(fault.kind))
            yield f"{fault.target} of {' and '.join(link.name for link in hit)}"
        finally:
            for link in hit:
                link.set(Mode.OPEN)
        return
    match fault.kind:
        case "pubsub":
            await _redis(rig, "CLIENT", "KILL", "TYPE", "pubsub")
            yield "valkey"
        case "flush":
            await _redis(rig, "FLUSHALL")
            yield "valkey"
        case "terminate":
            await _terminate(rig)
            yield "listener sessions and readers"
        case "rolling":
            await _rolling(rig)
            yield "nodes"
        case _:
            target = await _pick(rig.of(fault.target), chance)
            async with _signalled(fault, target):
                yield target.name


@asynccontextmanager
async def _signalled(fault: Fault, target: Target) -> AsyncIterator[None]:
    first = {"kill": signal.SIGKILL, "restart": target.stop_signal, "freeze": signal.SIGSTOP}[fault.kind]
    # A stop is asked of the server, not of each of its sessions.
    hit = target.processes()[:1] if fault.kind == "restart" else target.processes()
    for pid in hit:
        _send(pid, first)
    try:
        yield
    finally:
        if fault.lasts:
            for pid in {*hit, *target.processes()}:
                _send(pid, signal.SIGCONT)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


async def _pick(targets: Sequence[Target], chance: Random) -> Target:
    """Any of them; of listeners mostly the leader, since nothing depends on a standby."""
    if targets[0].kind == "listener" and chance.random() < 0.8:
        roles = await asyncio.gather(*(target.role() for target in targets))
        leaders = [target for target, role in zip(targets, roles, strict=True) if role == "leader"]
        targets = leaders or targets
    return chance.choice(targets)


async def _redis(rig: Rig, *command: str) -> None:
    client: Any = redis.Redis.from_url(rig.redis_url, socket_timeout=3, socket_connect_timeout=3)
    try:
        await client.execute_command(*command)
    except (redis.RedisError, OSError) as error:
        raise NotDone(f"{' '.join(command)}: {error}") from error
    finally:
        await client.aclose()


async def _terminate(rig: Rig) -> None:
    try:
        connection = await connect(rig.database_url, "nemesis")
        try:
            await connection.fetchval(statement("listeners"))
        finally:
            connection.terminate()
    except FAILURES as error:
        raise NotDone(f"pg_terminate_backend: {error}") from error


async def _rolling(rig: Rig) -> None:
    for target in rig.of("node"):
        before = target.pid()
        if before is not None:
            _send(before, signal.SIGTERM)
        await _until(lambda before=before, target=target: target.pid() not in (None, before))  # type: ignore[misc]
        with contextlib.suppress(Exception):
            await rig.ready(10.0)


async def _until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - what the supervisor starts, it tells nobody
                await asyncio.sleep(0.05)


class NotDone(Exception):
    """The stack was in no state to be hurt in this way: another fault is still felt."""
