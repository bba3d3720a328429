"""A stack's data directory: who holds it, what it keeps, and the state file through which others find the stack.

lock          held (flock) by the running `up`; its parts do not inherit it
state.json    written by `up` at every change, read by status, down and the other commands
identity.json passwords and ports of the embedded servers, so that URLs stay valid from one `up` to the next
postgres/ valkey/ log/
"""

import contextlib
import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypedDict

from notifiws.stack.errors import InUse, StackError

DEFAULT = Path(".notifiws")


class PartState(TypedDict):
    """What the state file says of one part. `pid` is null while it is down."""

    name: str
    kind: Literal["postgres", "valkey", "listener", "node", "demo"]
    pid: int | None
    url: str | None
    launches: int


class StackState(TypedDict):
    """What the state file says. It holds passwords, so only its owner may read it."""

    phase: Literal["starting", "running", "stopping"]
    pid: int
    version: str
    url: str
    database_url: str
    redis_url: str
    data_dir: str
    namespace: str
    dashboard: str
    parts: list[PartState]


class Identity(TypedDict):
    """What the embedded servers keep for life."""

    superuser_password: str
    owner_password: str
    valkey_password: str
    ports: dict[str, int]


class DataDirectory:
    """One stack's folder. `path` is absolute."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self._lock = self.path / "lock"
        self._state = self.path / "state.json"
        self._identity = self.path / "identity.json"

    @property
    def logs(self) -> Path:
        """The parts' log files."""
        return self.path / "log"

    @contextlib.contextmanager
    def hold(self, patience: float = 1.0) -> Iterator[None]:
        """Be the one `up` of this directory. Raises InUse after `patience` seconds; the kernel lets go when we die.

        Patience, because `status` tries the lock for a moment.
        """
        try:
            self._create()
            self.logs.mkdir(exist_ok=True)
            self.logs.chmod(0o700)
            lock = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StackError(
                f"cannot use the data directory {self.path}: {error.strerror}", "give another one with --data-dir"
            ) from error
        try:
            deadline = time.monotonic() + patience
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        state = self.read()
                        raise InUse(
                            f"another notifiws up holds {self.path}" + (f" (pid {state['pid']})" if state else ""),
                            f"notifiws down --data-dir {self.path}, or give another --data-dir",
                        ) from None
                    time.sleep(0.05)
            self._state.unlink(missing_ok=True)
            try:
                yield
            finally:
                self._state.unlink(missing_ok=True)
        finally:
            os.close(lock)

    def _create(self) -> None:
        """Make the folder. One that is there and holds something else is refused: a slip must not mix the two."""
        try:
            # Others may pass (the servers run under another account when we are root), not look.
            self.path.mkdir(mode=0o711, parents=True)
        except FileExistsError:
            if not self._lock.exists() and any(self.path.iterdir()):
                raise StackError(
                    f"{self.path} is no data directory of notifiws, and it is not empty",
                    "give another one with --data-dir",
                ) from None

    def held(self) -> bool:
        """Whether an `up` runs here now."""
        try:
            lock = os.open(self._lock, os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def read(self) -> StackState | None:
        """The state file's words, whoever wrote them: ask `held` whether they are still true."""
        try:
            state: StackState = json.loads(self._state.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return state

    def running(self) -> StackState | None:
        """The state of the stack that runs here now, None when there is none (or it is still being born)."""
        return self.read() if self.held() else None

    def write(self, state: StackState) -> None:
        """Replace the state file in one step."""
        self._replace(self._state, state)

    def identity(self) -> Identity:
        """The embedded servers' passwords and last ports, minted at the first call."""
        try:
            known: Identity = json.loads(self._identity.read_text(encoding="utf-8"))
        except ValueError as error:
            raise StackError(
                f"{self._identity} is damaged: {error}", f"restore it, or move {self.path} away and start anew"
            ) from error
        except FileNotFoundError:
            known = {
                "superuser_password": secrets.token_urlsafe(24),
                "owner_password": secrets.token_urlsafe(24),
                "valkey_password": secrets.token_urlsafe(24),
                "ports": {},
            }
            self._replace(self._identity, known, durable=True)
        return known

    def remember_ports(self, ports: dict[str, int]) -> None:
        """Prefer these ports next time."""
        identity = self.identity()
        if identity["ports"] != ports:
            self._replace(self._identity, {**identity, "ports": ports}, durable=True)

    @staticmethod
    def _replace(path: Path, content: Any, *, durable: bool = False) -> None:
        fresh = path.with_suffix(".new")
        with open(fresh, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            json.dump(content, file, indent=1)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        fresh.rename(path)
