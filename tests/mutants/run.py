"""Runs `notifiws verify` against a mutant: a copy of the sources, its edits, and whether they were caught."""

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from notifiws.verify.faults import SCENARIOS
from tests.mutants.catalogue import Mutant
from tests.stack import environment

ROOT = Path(__file__).parents[2]
SOURCES = ("db", "listener_service", "notifiws", "shared", "ws_service")


class DoesNotApply(Exception):
    """The product has moved on: the mutant has to be written anew."""


@dataclass(frozen=True)
class Caught:
    """What verify said. `violations`: by kind, only those that were found."""

    violations: dict[str, int]
    evidence: list[dict[str, Any]]
    seconds: float

    def __bool__(self) -> bool:
        return bool(self.violations)


def apply(mutant: Mutant, root: Path) -> None:
    """Edit the sources under `root`. Raises DoesNotApply."""
    for edit in mutant.edits:
        file = root / edit.path
        text = file.read_text(encoding="utf-8")
        if (found := text.count(edit.old)) != 1:
            raise DoesNotApply(f"mutant {mutant.name}: {found} places in {edit.path} instead of one:\n{edit.old}")
        file.write_text(text.replace(edit.old, edit.new), encoding="utf-8")


def copy(root: Path) -> None:
    """The sources, as they are now."""
    for name in SOURCES:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))


def catch(mutant: Mutant | None, seconds: float, seed: int) -> Caught:
    """Run verify against the mutant (None: against the copy as it is). Raises DoesNotApply, and when nothing ran."""
    folder = Path(tempfile.mkdtemp(prefix="notifiws-mutant-"))
    try:
        copy(folder)
        if mutant is not None:
            apply(mutant, folder)
        # In front of the installed sources, for verify and for all that it starts.
        env = environment() | {"PYTHONPATH": str(folder)}
        python = [sys.executable, "-P"]
        where = subprocess.run(
            [*python, "-c", "import listener_service, ws_service, db; print(db.__file__)"],
            env=env, cwd=folder, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert where.startswith(str(folder)), f"not the copy would be run but {where}"
        faults = mutant.faults if mutant is not None else "all"
        asked = ["--seconds", f"{seconds:g}", "--seed", str(seed), "--patience", "15"]
        asked += ["--scenario" if faults in SCENARIOS else "--faults", faults]
        ran = subprocess.run(
            [*python, "-m", "notifiws.cli.app", "verify", "--json", *asked],
            env=env, cwd=folder, capture_output=True, text=True, timeout=seconds + 240, check=False,
        )  # fmt: skip
        try:
            result: dict[str, Any] = json.loads(ran.stdout)
        except ValueError:
            raise AssertionError(f"verify ended with {ran.returncode} and judged nothing:\n{ran.stderr}") from None
        violations = {kind: count for kind, count in result["violations"].items() if count}
        assert ran.returncode == (0 if result["clean"] else 1), ran.stderr
        return Caught(violations, result["evidence"], result["seconds"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
