"""Builds examples/dashboard when its sources changed: `python -m notifiws.stack.dashboard`, and from `up` as well.

A build ends with a stamp inside the export, so what was cut short is built again. Nodes serve the export.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from notifiws.stack.process import die_with_parent, spawn
from notifiws.stack.supervisor import ended

ROOT = Path(__file__).resolve().parents[2] / "examples" / "dashboard"
OUT = ROOT / "out"
_LOCK = ROOT / "package-lock.json"
_STAMP = OUT / ".stamp"
_INSTALLED = ROOT / "node_modules" / ".installed"
_LEAST_NODE = 20
# Made by the build or not part of it.
_NOT_SOURCES = frozenset({"node_modules", "out", "tests", "next-env.d.ts", "tsconfig.tsbuildinfo", "README.md"})


def missing() -> str | None:
    """What keeps the dashboard from being built here, None when nothing does."""
    if not _LOCK.exists():
        return "its sources are not here"
    if not (shutil.which("node") and shutil.which("npm")):
        return f"node ≥ {_LEAST_NODE} and npm are not installed"
    asked = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)  # noqa: S607
    major = asked.stdout.strip().removeprefix("v").partition(".")[0]
    if not major.isdigit() or int(major) < _LEAST_NODE:
        return f"node ≥ {_LEAST_NODE} is needed, here is {asked.stdout.strip() or 'one that does not start'}"
    return None


def built() -> bool:
    """Whether there is a finished export, of these sources or older ones."""
    return _STAMP.exists()


def stale() -> bool:
    """Whether the export was not made from these very sources."""
    return _read(_STAMP) != _sources()


def build() -> None:
    """Install what the lock names, build, stamp. Output goes to ours. Raises subprocess.CalledProcessError.

    One build at a time: a second stack waits for the first one's, and finds it done.
    """
    with _alone():
        if not stale():
            return
        sources, lock = _sources(), _digest([_LOCK])
        if _read(_INSTALLED) != lock:
            _npm("ci", "--no-audit", "--no-fund")
            _INSTALLED.write_text(lock, encoding="ascii")
        _npm("run", "build")
        _STAMP.write_text(sources, encoding="ascii")


async def build_in_background(log: Path, say: Callable[[str], None]) -> str:
    """Build in a child of low priority; cancelled or killed, we take it with us. Returns `ready` or `failed`."""
    log.unlink(missing_ok=True)  # noqa: ASYNC240
    child = spawn(
        [sys.executable, "-P", "-m", "notifiws.stack.dashboard", "--take-children-along"],
        death_signal=signal.SIGTERM,
        log=log,
        env={**os.environ, "CI": "1", "NO_COLOR": "1"},
        niceness=19,
    )
    try:
        code = await ended(child)
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        await ended(child)
        raise
    if code:
        say(f"the dashboard's build failed; its log: {log}")
        return "failed"
    return "ready"


def main() -> int:
    """`make dashboard`, or the background child of `up`. Returns the exit code."""
    if "--take-children-along" in sys.argv:
        # Told to end (by the kernel, when `up` was killed): npm's own children are in our process group.
        signal.signal(signal.SIGTERM, lambda *_: os.killpg(os.getpgrp(), signal.SIGKILL))
    why = missing()
    if why:
        print(f"dashboard skipped: {why}", file=sys.stderr)  # noqa: T201
        return 0
    if not stale():
        return 0
    print("building the dashboard", file=sys.stderr)  # noqa: T201
    try:
        build()
    except subprocess.CalledProcessError as error:
        print(f"error: {' '.join(error.cmd)} failed with exit code {error.returncode}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _npm(*arguments: str) -> None:
    parent = os.getpid()
    subprocess.run(  # noqa: S603
        ["npm", *arguments],  # noqa: S607
        cwd=ROOT,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=2,
        env={**os.environ, "NEXT_TELEMETRY_DISABLED": "1", "NO_UPDATE_NOTIFIER": "1"},
        preexec_fn=lambda: die_with_parent(signal.SIGKILL, parent),
    )


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    lock = os.open(ROOT, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _sources() -> str:
    files = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(name for name in folders if name not in _NOT_SOURCES and not name.startswith("."))
        files += [Path(folder, name) for name in sorted(names) if name not in _NOT_SOURCES and name != ".DS_Store"]
    return _digest(files)


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT)}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return None


if __name__ == "__main__":
    sys.exit(main())
