"""The benchmark as its user starts it: a smoke run against the whole product, and one that is broken off."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

COMMAND = [sys.executable, "-m", "bench"]
BREAKABLE = [*COMMAND, "latency", "--quick"]


def _smoke(name: str, folder: Path, *, partial: Sequence[str] = ()) -> dict[str, Any]:
    """Every step of a scenario in seconds: its document, in which each cell is filled but for `partial` lines'."""
    from bench.scenario import discover
    from bench.table import rows

    command = [*COMMAND, name, "--quick", "--json", "--out", str(folder)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    (document,) = json.loads(ran.stdout)
    assert document["violations"] == []
    assert {"postgres", "python", "uvloop"} <= set(document["versions"])
    scenario = discover()[name]
    for table in scenario.tables:
        shown = rows(table, document["summary"])
        assert len(shown) == len(table.lines), f"{table.title}: lines without a figure"
        assert all(all(row) for row in shown if row[0] not in partial), f"{table.title}: an empty cell"
    assert len(document["goals"]) == len(scenario.goals)
    assert json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["scenario"] == name
    return document


@pytest.mark.slow
def test_latency_measures_every_hop_of_every_row(tmp_path: Path) -> None:
    document = _smoke("latency", tmp_path)
    assert "valkey" in document["versions"]
    hops = document["summary"]["notifiws v1"]
    for phase, count in (("idle", 25), ("load", 200)):
        assert hops[f"{phase}.hop.tick_to_redis.count"]["median"] == count, "the tap missed publications"


@pytest.mark.slow
def test_writers_take_turns_beside_a_bare_table(tmp_path: Path) -> None:
    figures = _smoke("writers", tmp_path)["summary"]["8 writers"]
    assert figures["insert.bare.share_percent"]["median"] == 100
    assert figures["update.awake.commits_per_second"]["median"] > 0


@pytest.mark.slow
def test_capture_is_costed_by_width_and_by_watches(tmp_path: Path) -> None:
    document = _smoke("capture", tmp_path, partial=["no trigger"])
    one_row = document["summary"]["one row a statement"]
    assert one_row["width.50000.update.watched_us"]["median"] > one_row["width.50.update.watched_us"]["median"]
    assert one_row["watches.10.insert.capture_us"]["median"] > one_row["watches.1.insert.capture_us"]["median"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """For temporary files, with a path short enough for the stack's Unix sockets and open to its servers' account."""
    folder = Path(tempfile.mkdtemp(prefix="nwb-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_broken_off_leaves_nothing_running(how: signal.Signals, folder: Path) -> None:
    process = subprocess.Popen(
        BREAKABLE, env=os.environ | {"TMPDIR": str(folder)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    seen: set[psutil.Process] = set()
    deadline = time.monotonic() + 60
    # Until load processes run, all of the product does too.
    while not any("bench.load" in " ".join(_words(child)) for child in seen):
        assert process.poll() is None
        assert time.monotonic() < deadline
        seen |= set(psutil.Process(process.pid).children(recursive=True))
        time.sleep(0.1)
    seen |= set(psutil.Process(process.pid).children(recursive=True))
    process.send_signal(how)
    process.wait(60)
    _, left = psutil.wait_procs(seen, timeout=15)
    assert [_words(each) for each in left if each.is_running() and each.status() != psutil.STATUS_ZOMBIE] == []
    if how != signal.SIGKILL:
        assert list(folder.iterdir()) == []


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []
