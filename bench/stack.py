"""The whole product as its user starts it: `notifiws up --no-demo`, on free ports, in a directory that goes again."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.scenario import BenchError
from notifiws.stack.ports import free_port
from notifiws.stack.process import die_with_parent, tail

_NOTIFIWS = Path(sys.executable).with_name("notifiws")
_READY_SECONDS = 90.0
_STOP_SECONDS = 40.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where a load process connects to."""

    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> "Address":
        """Host and port of a URL."""
        parts = urlsplit(url)
        if parts.hostname is None or parts.port is None:
            raise BenchError(f"no host and port in {url!r}")
        return cls(parts.hostname, parts.port)


@dataclass(frozen=True, slots=True)
class RunningStack:
    """What `notifiws status --json` says of it, as far as benchmarks need it."""

    database_url: str
    redis_url: str
    nodes: tuple[Address, ...]
    listener_pid: int
    node_pids: tuple[int, ...]
    folder: Path  # for anything else that should go with it


@asynccontextmanager
async def stack(*, nodes: int) -> AsyncIterator[RunningStack]:
    """Start a stack, wait until every part is ready, stop it at the end and remove its data."""
    folder = temporary_folder()
    log = folder / "up.log"
    data = folder / "data"
    up = ["up", "--no-demo", "--port", str(free_port()), "--nodes", str(nodes), "--data-dir", str(data)]
    parent = os.getpid()
    try:
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                _NOTIFIWS,
                *up,
                cwd=folder,
                env=_environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
                preexec_fn=lambda: die_with_parent(signal.SIGTERM, parent),
            )
        try:
            yield _running(await _ready(process, data, log), folder)
        finally:
            await _stop(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def temporary_folder() -> Path:
    """A fresh one for a benchmark's servers."""
    folder = Path(tempfile.mkdtemp(prefix="notifiws-bench-"))
    # When we are root its servers run as another user, who has to pass.
    folder.chmod(0o711)
    return folder


async def _ready(process: asyncio.subprocess.Process, data: Path, log: Path) -> dict[str, Any]:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_READY_SECONDS):
            while process.returncode is None:
                status = await _status(data)
                if status.get("state") == "ready":
                    return status
                await asyncio.sleep(0.2)
            raise BenchError(f"notifiws up ended with {process.returncode}:\n{tail(log)}")
    raise BenchError(f"notifiws up was not ready within {_READY_SECONDS:g} s:\n{tail(log)}")


async def _status(data: Path) -> dict[str, Any]:
    asked = await asyncio.create_subprocess_exec(
        _NOTIFIWS,
        *("status", "--json", "--data-dir", str(data)),
        cwd=data.parent,
        env=_environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    said, _ = await asked.communicate()
    status: dict[str, Any] = json.loads(said) if said.strip() else {}
    return status


def _running(status: dict[str, Any], folder: Path) -> RunningStack:
    return RunningStack(
        status["database_url"],
        status["redis_url"],
        tuple(Address.of(node["url"]) for node in status["nodes"]),
        status["listener"]["pid"],
        tuple(node["pid"] for node in status["nodes"]),
        folder,
    )


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGINT)
    try:
        await asyncio.wait_for(process.wait(), _STOP_SECONDS)
    except TimeoutError:
        # Its parts die with it: the kernel sees to that.
        process.kill()
        await process.wait()


def _environment() -> dict[str, str]:
    """Ours, without anything that would point the stack at other servers."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in ("DATABASE_URL", "REDIS_URL") and not name.startswith("NOTIFIWS_")
    }
