"""`notifiws verify` finds nothing in the product, and finds what is wrong with mutants of it.

One seed is always the same, so that a failure of today is looked for tomorrow too; the other is fresh and printed.
"""

import json
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.mutants.catalogue import MUTANTS
from tests.mutants.run import catch
from tests.stack import NOTIFIWS, Stack, environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
SECONDS = 20
FRESH = random.SystemRandom().randrange(1_000_000)


def verify(folder: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Run the command and return its document."""
    ran = subprocess.run(
        [NOTIFIWS, "verify", "--json", "--report", folder / "report", *arguments],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=SECONDS + 240, check=False,
    )  # fmt: skip
    assert ran.stdout, ran.stderr
    result: dict[str, Any] = json.loads(ran.stdout)
    shown = json.dumps({key: result[key] for key in ("command", "violations", "troubles", "evidence")}, indent=1)
    assert ran.returncode == code, f"{shown}\n{ran.stderr}"
    return result


@pytest.mark.parametrize("which", ["fixed", "fresh"])
def test_nothing_is_lost_repeated_turned_around_or_made_up_whatever_fails(
    which: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = 20261124 if which == "fixed" else FRESH
    with capsys.disabled():
        print(f"\nnotifiws verify --seconds {SECONDS} --seed {seed}")
    result = verify(tmp_path, "--seconds", str(SECONDS), "--seed", str(seed))
    assert not any(result["violations"].values())
    # It has seen something.
    assert result["seen"]["changes"] > 200
    assert result["seen"]["deliveries"] > 2_000
    assert len(result["faults"]) >= 2
    assert {fault["clients"] for fault in result["faults"][:2]} == {4}, "no steady client is left out of a recovery"
    assert (tmp_path / "report" / "report.html").stat().st_size > 5_000


@pytest.mark.parametrize("which", [0, 1])
def test_a_mutant_of_the_product_is_caught(which: int, capsys: pytest.CaptureFixture[str]) -> None:
    mutant = random.Random(FRESH).sample(MUTANTS, 2)[which]
    with capsys.disabled():
        print(f"\npython -m tests.mutants {mutant.name}")
    caught = catch(mutant, 12, FRESH) or catch(mutant, 60, FRESH)
    assert caught, f"{mutant.name} got away: {mutant.breaks}"
    assert caught.evidence[0]["evidence"]


def test_a_running_stack_is_left_as_it_was(tmp_path: Path) -> None:
    with Stack(tmp_path) as stack:
        before = stack.status
        data = str(stack.data_dir)
        result = verify(tmp_path, "--attach", "--data-dir", data, "--seconds", "4", "--faults", "kill:node,client-node")
        assert result["seen"]["changes"] > 50
        assert {fault["kind"] for fault in result["faults"]} <= {"kill", "half-open", "one-way", "slow", "reset"}
        after = stack.wait("ready")
        assert after["listener"]["pid"] == before["listener"]["pid"]
        assert json.loads(stack.run("watches", "--json").stdout) == []


def test_a_signal_ends_it_early_and_what_was_seen_is_judged(tmp_path: Path) -> None:
    running = subprocess.Popen(
        [NOTIFIWS, "verify", "--json", "--seconds", "300", "--faults", "kill:node"],
        cwd=tmp_path, env=environment() | {"TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        until = time.monotonic() + 100
        while not any(each.stat().st_size for each in tmp_path.glob("notifiws-verify-*/history/events")):
            assert running.poll() is None
            assert time.monotonic() < until
            time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        said, _ = running.communicate(timeout=100)
    finally:
        running.kill()
    result = json.loads(said)
    assert running.returncode == 0, result["evidence"]
    assert result["seconds"] < 150
    assert result["seen"]["changes"] > 100
    assert not list(tmp_path.glob("notifiws-verify-*"))
