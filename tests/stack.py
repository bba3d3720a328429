"""A whole stack as a user has it: `notifiws up` as a process, on a free port and in a directory of its own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import asyncpg

NOTIFIWS = Path(sys.executable).with_name("notifiws")
READY_SECONDS = 60


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment() -> dict[str, str]:
    """This environment without anything that would point a stack at the machine's own servers."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in ("DATABASE_URL", "REDIS_URL") and not name.startswith("NOTIFIWS_")
    }


class Stack:
    """`with Stack(directory) as stack:` starts and stops one. Its state is what `notifiws status --json` says."""

    def __init__(self, directory: Path, *arguments: str, demo: bool = False, nodes: int = 2, **settings: str) -> None:
        self.directory = directory
        self.port = free_port()
        self.data_dir = directory / "data"
        self.log = directory / "up.log"
        self.env = environment() | settings
        self.command = [
            str(NOTIFIWS), "up", "--port", str(self.port), "--nodes", str(nodes), "--data-dir", str(self.data_dir),
            "--demo" if demo else "--no-demo", *arguments,
        ]  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None
        self.ready: dict[str, Any] = {}  # the first ready status: its URLs stay, its pids may not

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start and wait until every part is ready."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.directory, env=self.env, stdout=log, stderr=log, start_new_session=True
            )
        self.ready = self.wait("ready")

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        """Stop as Ctrl-C does (`how`: another signal) and return the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def run(self, *arguments: str, code: int = 0, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command of the CLI against this stack and check its exit code."""
        ran = subprocess.run(
            [str(NOTIFIWS), *arguments, "--data-dir", str(self.data_dir)],
            cwd=self.directory, env=self.env, input=stdin, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert ran.returncode == code, f"{arguments} ended with {ran.returncode}, not {code}: {ran.stdout}{ran.stderr}"
        return ran

    @property
    def status(self) -> dict[str, Any]:
        """`notifiws status --json`; `{"state": "stopped"}` when it does not run."""
        ran = subprocess.run(
            [str(NOTIFIWS), "status", "--json", "--data-dir", str(self.data_dir)],
            cwd=self.directory, env=self.env, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        status: dict[str, Any] = json.loads(ran.stdout or '{"state": "stopped"}')
        return status

    def wait(self, state: str, seconds: float = READY_SECONDS) -> dict[str, Any]:
        """Poll the status until it says `state`."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"up ended with {self.process.returncode}:\n{self.tail()}")
            status = self.status
            if status["state"] == state:
                return status
            time.sleep(0.1)
        raise AssertionError(f"not {state} within {seconds} s: {self.status}\n{self.tail()}")

    def tail(self) -> str:
        """The end of what `up` said, and of what its parts logged."""
        logs = [self.log, *sorted(self.data_dir.glob("log/*"))]
        return "\n".join(f"== {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in logs if log.is_file())

    def http_url(self, node: int | None = None) -> str:
        """The shared URL, or one node's own. A restarted part keeps it."""
        url: str = self.ready["url"] if node is None else self.ready["nodes"][node]["url"]
        return url.rstrip("/")

    def ws_url(self, node: int | None = None) -> str:
        """The same for WebSockets."""
        return self.http_url(node).replace("http", "ws", 1)

    async def pg(self) -> "asyncpg.Connection[asyncpg.Record]":
        """A connection to the stack's database, as its owner."""
        return await asyncpg.connect(self.ready["database_url"])
