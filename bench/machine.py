"""What the figures were measured on and with: the machine, the versions, the commit."""

import os
import platform
import subprocess
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

_PACKAGES = ("notifiws", "asyncpg", "fastapi", "msgspec", "redis", "hiredis", "uvicorn", "uvloop", "websockets")
_ROOT = Path(__file__).resolve().parent.parent


def machine() -> dict[str, Any]:
    """Processor, cores, memory, kernel, and what making 8 KB durable takes: every commit pays it.

    No name that would identify the machine.
    """
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "load_before": round(os.getloadavg()[0], 2),
        "fdatasync_ms": round(_fdatasync_seconds() * 1e3, 2),
    }


def versions() -> dict[str, str]:
    """Python and the packages that take part."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """The commit that was measured, `+` behind it when the tree had changes; None outside a repository."""
    head = _git("rev-parse", "--short=12", "HEAD")
    # Results lie in the tree too; writing one does not change what the next one measures.
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench/results")
    return None if head is None else head + ("+" if changed else "")


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _fdatasync_seconds(times: int = 25) -> float:
    """The median of a few, where the stack's data will lie."""
    taken = []
    with tempfile.TemporaryFile() as file:
        for _ in range(times):
            file.write(b"x" * 8192)
            file.flush()
            began = perf_counter()
            os.fdatasync(file.fileno())
            taken.append(perf_counter() - began)
    return median(taken)


def _git(*arguments: str) -> str | None:
    try:
        ran = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return ran.stdout.strip() if ran.returncode == 0 else None
