"""Child processes that cannot outlive us, and the unprivileged account that servers run under when we are root.

Who starts what, and when again, is the supervisor's job.
"""

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from notifiws.stack.errors import StackError

_PR_SET_PDEATHSIG = 1
# Loaded before any fork: between fork and exec nothing may take the loader's lock.
_prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None


def die_with_parent(death_signal: int, parent: int) -> None:
    """Have the kernel send this process `death_signal` when the thread that forked it ends.

    For use between fork and exec. `parent` is the pid that forked: when it died before we asked, nobody would tell us.
    """
    if _prctl is None:
        return
    _prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Account:
    """An unprivileged user. Only root can hand a process to another one; Postgres refuses to run as root at all."""

    uid: int
    gid: int
    # The kernel's right to pass closed folders. Given to a server only where its files lie behind one that the
    # account may not enter (a clone under a 0700 home, say): the folder belongs to its owner, we leave it alone.
    override: bool = False

    @classmethod
    def choose(cls, *needed: Path) -> Self | None:
        """The account to run a server under, None when we are not root. `needed`: what it must reach and execute."""
        if os.geteuid() != 0:
            return None
        if shutil.which("setpriv") is None:
            raise StackError(
                "running as root, and Postgres refuses root: setpriv (util-linux) is needed to run it as another user",
                "install util-linux, or run as an ordinary user",
            )
        for name in ("postgres", "nobody"):
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            account = cls(entry.pw_uid, entry.pw_gid)
            if all(account._reaches(path) for path in needed):
                return account
            return cls(entry.pw_uid, entry.pw_gid, override=True)
        raise StackError("running as root, and there is no user 'postgres' or 'nobody' to run Postgres as")

    def command(self, argv: Sequence[str], death_signal: signal.Signals | None = None) -> list[str]:
        """`argv`, run under this account."""
        prefix = ["setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups"]
        if self.override:
            prefix += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
        if death_signal is not None:
            prefix += ["--pdeathsig", death_signal.name.removeprefix("SIG")]
        return [*prefix, "--", *argv]

    def own(self, file: int) -> None:
        """Give an open file or folder to this account. By descriptor: a name could lead elsewhere by now."""
        os.fchown(file, self.uid, self.gid)

    def _reaches(self, path: Path) -> bool:
        argv = self.command(["test", "-x", str(path)])
        return subprocess.run(argv, check=False, capture_output=True, cwd="/").returncode == 0  # noqa: S603


def spawn(
    argv: Sequence[str],
    *,
    death_signal: signal.Signals,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    account: Account | None = None,
    pass_fds: Sequence[int] = (),
    cwd: Path | str = "/",
    niceness: int = 0,
) -> subprocess.Popen[bytes]:
    """Start a child in a process group of its own that gets `death_signal` when we die, however we die.

    Call it from a thread that lives as long as the child may (the main one): the kernel watches the thread. Output
    goes to the end of `log`. The pid is the program's own, setpriv executes it in place.
    """
    parent = os.getpid()

    def before_exec() -> None:
        if niceness:
            os.nice(niceness)
        # A change of user clears this, so setpriv asks again; until then a dead parent kills at once.
        die_with_parent(signal.SIGKILL if account else death_signal, parent)

    command = account.command(argv, death_signal) if account else list(argv)
    output = log.open("ab") if log else None
    try:
        return subprocess.Popen(  # noqa: S603  # the stack's own parts
            command,
            stdin=subprocess.DEVNULL,
            stdout=output or subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            env=dict(env) if env is not None else None,
            pass_fds=tuple(pass_fds),
            cwd=str(cwd),
            preexec_fn=before_exec,  # noqa: PLW1509  # the kernel call has no other door; it takes no lock
            process_group=0,
        )
    finally:
        if output:
            output.close()


def alive(pid: int) -> bool:
    """Whether a process with this pid runs (a zombie does not)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return not Path("/proc/self").exists()
    return state not in ("Z", "X")


def works_on(pid: int, path: Path) -> bool:
    """Whether that process was started with `path` on its command line: how a server is told from a reused pid.

    Its working directory would be hidden from a root without CAP_SYS_PTRACE, as in a container.
    """
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return str(path).encode() in words


def children_of(pid: int) -> list[int]:
    """Direct children of a process."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()]
    except OSError:
        return []


def end_leftover(pid: int, signals: Sequence[tuple[signal.Signals, float]]) -> None:
    """End a process that a killed parent left behind: each signal in turn, waiting up to its seconds."""
    for number, patience in signals:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if not alive(pid):
                return
            time.sleep(0.02)


def tail(log: Path | None, lines: int = 8) -> str:
    """The last lines of a log, for an error message."""
    if log is None or not log.exists():
        return "(no log)"
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4000))
        text = file.read().decode(errors="replace")
    return "\n".join(text.rstrip().splitlines()[-lines:])
