"""A run as a document: everything needed to believe it, to understand it and to repeat it. `page.py` shows it."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from notifiws.verify.checker import Checked
from notifiws.verify.faults import Fault
from notifiws.verify.recovery import Recoveries
from notifiws.verify.verdict import WORDS, Kind, Violation

FORMAT: Final = 1
METHOD: Final = (
    "Writers commit transactions of many kinds (inserts, several updates of one row, changed keys, savepoints, "
    "rollbacks, rows that all writers change, transactions open for seconds, thousands of rows in one statement); an "
    "ordinary row trigger notes each change in an audit table, in the same transaction. Clients stay, drop and resume "
    "on any node, resume inside a frame, come new, and subscribe to channels that nobody follows. Meanwhile the stack "
    "is hurt, one fault after the other, sometimes two at once. At the end everything is healed, and everyone who "
    "stays has to hear a last change. Then the recorded history is checked against the tables: lost, duplicated, "
    "reordered (per row, within a transaction, and by what each transaction's snapshot could see), phantom, changed, "
    "gaps by the rule of `prev`, positions that go backwards, and whether replaying the events gives the tables. A "
    "fault's recovery is the time from its beginning until a steady client heard an event whose commit began after it."
)
_FELT_SECONDS: Final = 3.0
_PACKAGES: Final = ("notifiws", "asyncpg", "redis", "uvicorn", "uvloop", "websockets")


def document(
    checked: Checked,
    *,
    command: str,
    seed: int,
    seconds: float,
    settings: Mapping[str, Any],
    faults: Sequence[Fault],
    servers: Mapping[str, str],
    troubles: Sequence[str],
    skipped: int,
) -> dict[str, Any]:
    """The whole of it, for JSON."""
    verdict, recoveries = checked.verdict, checked.recoveries
    return {
        "format": FORMAT,
        "clean": verdict.clean and not troubles,
        "violations": {str(kind): verdict.counts[kind] for kind in Kind},
        "told": dict(verdict.told),
        "troubles": list(troubles),
        "evidence": [
            violation.document() | {"during": _during(violation, recoveries)} for violation in verdict.examples
        ],
        "seen": dict(sorted(verdict.seen.items())),
        "seconds": round(seconds, 1),
        "seed": seed,
        "command": command,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "method": METHOD,
        "settings": dict(settings) | {"faults": sorted(map(str, faults))},
        "faults_skipped": skipped,
        "machine": _machine(),
        "versions": _versions() | dict(servers),
        "recoveries": recoveries.kinds(),
        "faults": [recovery.document() for recovery in recoveries.all],
        "latency": recoveries.seconds(),
    }


def _during(violation: Violation, recoveries: Recoveries) -> list[str]:
    """The faults that were felt when it was seen, or just before."""
    at = violation.at
    if at is None:
        return []
    faults = [recovery.fault for recovery in recoveries.all]
    return [
        f"{fault.kind} {fault.target} at {fault.at:.3f} s"
        for fault in faults
        if fault.at <= at <= max(fault.healed, fault.at) + _FELT_SECONDS
    ]


def meanings() -> dict[str, str]:
    """What each kind of violation means."""
    return {str(kind): words for kind, words in WORDS.items()}


def write(result: Mapping[str, Any], folder: Path, page: str) -> None:
    """`report.json` and `report.html` in a folder that is made if need be. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "report.html").write_text(page, encoding="utf-8")


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _machine() -> dict[str, Any]:
    """No name that would identify it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "load": round(os.getloadavg()[0], 2),
    }
