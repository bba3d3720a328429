"""An outcome as a document that can be committed: `bench/results/<scenario>.json`."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench import machine
from bench.figures import summary
from bench.rounds import Outcome

FOLDER: Final = Path(__file__).resolve().parent / "results"
FORMAT: Final = 1


def document(outcome: Outcome, command: str, on: Mapping[str, Any]) -> dict[str, Any]:
    """Everything needed to understand the figures and to repeat them. `on` is the machine before the run."""
    scenario = outcome.scenario
    over = {each.name: summary(outcome.of(each.name)) for each in outcome.field.contenders}
    return {
        "format": FORMAT,
        "scenario": scenario.name,
        "method": scenario.method.strip(),
        "command": command,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": machine.commit(),
        "quick": outcome.options.quick,
        "machine": dict(on),
        "versions": machine.versions() | dict(outcome.field.versions),
        "settings": {"rounds": outcome.options.rounds} | dict(outcome.field.settings),
        "violations": outcome.violations,
        "goals": [
            {
                "goal": goal.text,
                "figure": goal.figure,
                "contender": goal.contender,
                goal.kind: goal.bound,
                "median": value["median"],
                "met": goal.met(value["median"]),
            }
            for goal in scenario.goals
            if (value := over.get(goal.contender, {}).get(goal.figure))
        ],
        "summary": over,
        "rounds": [
            {"round": each.number, "contender": each.contender, "figures": each.figures} for each in outcome.rounds
        ],
    }


def text(result: Mapping[str, Any]) -> str:
    """The document as JSON that diffs well: sorted by nothing, indented, figures to four decimals."""
    return json.dumps(_rounded(result), indent=1, ensure_ascii=False) + "\n"


def write(result: Mapping[str, Any], folder: Path = FOLDER) -> Path:
    """Write it whole or not at all; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result['scenario']}.json"
    new = path.with_suffix(".json.new")
    new.write_text(text(result), encoding="utf-8")
    return new.replace(path)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if value.is_integer() else round(value, 4)
    if isinstance(value, Mapping):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return value
