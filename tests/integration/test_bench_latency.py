"""The benchmark as its user starts it: a smoke run against the whole product, and one that is broken off."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

COMMAND = [sys.executable, "-m", "bench", "latency", "--quick"]


@pytest.mark.slow
def test_a_smoke_run_measures_every_figure_that_is_shown(tmp_path: Path) -> None:
    from bench.scenario import discover
    from bench.table import rows

    ran = subprocess.run([*COMMAND, "--json", "--out", str(tmp_path)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    (document,) = json.loads(ran.stdout)
    assert document["violations"] == []
    assert {"postgres", "valkey", "python", "uvloop"} <= set(document["versions"])
    scenario = discover()["latency"]
    for table in scenario.tables:
        shown = rows(table, document["summary"])
        assert len(shown) == len(table.lines), f"{table.title}: lines without a figure"
        assert all(all(row) for row in shown), f"{table.title}: an empty cell"
    assert len(document["goals"]) == len(scenario.goals)
    hops = document["summary"]["notifiws v1"]
    for phase, count in (("idle", 25), ("load", 200)):
        assert hops[f"{phase}.hop.tick_to_redis.count"]["median"] == count, "the tap missed publications"
    assert json.loads((tmp_path / "latency.json").read_text(encoding="utf-8"))["scenario"] == "latency"


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
        COMMAND, env=os.environ | {"TMPDIR": str(folder)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
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
