"""What the command refuses, and with which exit code, before anything is started."""

from pathlib import Path
from typing import Any

import pytest

from notifiws.cli import verify as command
from notifiws.cli.errors import Failed, NotRunning, UsageError


def verify(**given: Any) -> None:
    command.verify(**given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"faults": "kil"}, "there is no 'kil'"),
        ({"scenario": "doom"}, "there is no 'doom'"),
        ({"faults": "kill", "scenario": "crash"}, "exclude each other"),
    ],
)
def test_what_is_misspelt_is_named(given: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        verify(**given)
    assert refused.value.exit_code == 2
    assert refused.value.fix


def test_no_stack_to_attach_to(tmp_path: Path) -> None:
    with pytest.raises(NotRunning) as refused:
        verify(attach=True, data_dir=tmp_path)
    assert refused.value.exit_code == 3


@pytest.mark.parametrize(("violations", "troubles"), [({"lost": 1}, []), ({"lost": 0}, ["not every client came back"])])
def test_a_violation_and_an_unfinished_run_end_with_1(
    monkeypatch: pytest.MonkeyPatch, violations: dict[str, int], troubles: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    result = {"violations": violations, "troubles": troubles, "command": "notifiws verify --seed 5", "evidence": []}
    monkeypatch.setattr(command, "_run", lambda request: result)
    with pytest.raises(Failed) as failed:
        verify(seed=5, as_json=True)
    assert failed.value.exit_code == 1
    assert '"lost"' in capsys.readouterr().out


def test_a_fresh_seed_is_in_the_command_that_repeats_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def run(request: Any) -> dict[str, Any]:
        asked.append(request)
        return {"violations": {}, "troubles": []}

    monkeypatch.setattr(command, "_run", run)
    verify(as_json=True, faults="kill:node")
    [request] = asked
    assert request.command == (
        f"notifiws verify --seconds 60 --faults kill:node --seed {request.options.seed} --writers 4 --clients 8"
    )
