"""Scenarios, rounds, results and tables, with contenders that measure nothing."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from bench import __main__ as program
from bench import results, rounds, table
from bench.figures import Figures
from bench.scenario import Column, Field, Goal, Line, Options, Scenario, Table, discover


@dataclass
class Fake:
    name: str
    said: Iterator[Figures]
    log: list[str] = field(default_factory=list)

    async def round(self) -> Figures:
        self.log.append(self.name)
        return next(self.said)


def scenario(ours: list[Figures], theirs: list[Figures], log: list[str]) -> Scenario:
    @asynccontextmanager
    async def opened(_: Options) -> AsyncIterator[Field]:
        yield Field(
            [Fake("we", iter(ours), log), Fake("they", iter(theirs), log)], {"postgres": "18.4"}, {"clients": 3}
        )

    return Scenario(
        name="fake",
        method="\nHow it is done.\n",
        open=opened,
        tables=[
            Table("All", [Line("us", "we", "x."), Line("them", "they", "x.")], [Column("p50", "p50_ms")]),
            Table("Nobody", [Line("us", "we", "y.")], [Column("p50", "p50_ms")]),
        ],
        goals=[Goal("p50 ≤ 3 ms", "we", "x.p50_ms", 3.0), Goal("unmeasured", "we", "z", 3.0)],
        zero={"we": ["x.lost"]},
    )


def test_turns_go_round() -> None:
    assert [rounds.order(3, number) for number in (1, 2, 3, 4)] == [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]


async def _document(ours: list[Figures], theirs: list[Figures]) -> tuple[Scenario, dict[str, object], list[str]]:
    log: list[str] = []
    fake = scenario(ours, theirs, log)
    outcome = await rounds.run(fake, Options(rounds=len(ours)), lambda _: None)
    on = {"cpu": "cpu", "cores": 2, "memory_gb": 8, "kernel": "Linux", "fdatasync_ms": 0.5, "load_before": 1.5}
    return fake, results.document(outcome, "python -m bench fake", on), log


async def test_rounds_are_interleaved_and_kept_raw(tmp_path: Path) -> None:
    ours = [{"x.p50_ms": 2.0, "x.lost": 0.0}, {"x.p50_ms": 4.00004}, {"x.p50_ms": 1.0}]
    _, document, log = await _document(ours, [{"x.p50_ms": 9.0}] * 3)
    assert log == ["we", "they", "they", "we", "we", "they"]
    path = results.write(document, tmp_path / "new")
    read = json.loads(path.read_text(encoding="utf-8"))
    assert path.name == "fake.json"
    assert read["method"] == "How it is done."
    assert read["command"] == "python -m bench fake"
    assert read["versions"]["postgres"] == "18.4"
    assert read["versions"]["python"]
    assert read["settings"] == {"rounds": 3, "clients": 3}
    assert read["machine"]["cores"] == 2
    assert read["summary"]["we"]["x.p50_ms"] == {"median": 2, "min": 1, "max": 4, "rounds": 3}
    assert [each["figures"]["x.p50_ms"] for each in read["rounds"] if each["contender"] == "we"] == [2, 4, 1]
    assert read["violations"] == []
    assert read["goals"] == [
        {"goal": "p50 ≤ 3 ms", "figure": "x.p50_ms", "contender": "we", "at most": 3, "median": 2, "met": True}
    ]
    assert list((tmp_path / "new").iterdir()) == [path]


async def test_what_must_be_zero_and_is_not_is_a_violation() -> None:
    _, document, _ = await _document([{"x.lost": 0.0}, {"x.lost": 2.0}], [{"x.lost": 5.0}] * 2)
    assert document["violations"] == ["we: x.lost = 2, must be 0"], "a peer's losses are only reported"


async def test_a_table_shows_medians_with_their_spread() -> None:
    fake, document, _ = await _document([{"x.p50_ms": 2.0}, {"x.p50_ms": 4.0}], [{"x.p50_ms": 9.0}] * 2)
    assert table.rows(fake.tables[0], document["summary"]) == [  # type: ignore[arg-type]
        ["us", "3.00 (2.00–4.00)"],
        ["them", "9.00"],
    ]
    out = StringIO()
    table.show(fake, document, Console(file=out, width=120))
    assert "3.00 (2.00–4.00)" in out.getvalue()
    assert "not at rest: load 1.5" in out.getvalue()
    assert "Nobody" not in out.getvalue(), "a table without figures is left out"
    assert "p50 ≤ 3 ms: 3.00, met" in out.getvalue()


def test_scenarios_are_found_and_say_how_they_measure() -> None:
    found = discover()
    assert "latency" in found
    for name, each in found.items():
        assert each.name == name
        assert len(each.method) > 200, f"{name} does not say how it measures"
        assert each.tables


def test_the_command_line() -> None:
    assert program.arguments([], ["latency"]).rounds == 5
    assert program.arguments(["--quick"], ["latency"]).rounds == 1
    assert program.arguments(["latency", "--rounds", "7"], ["latency"]).rounds == 7
    for wrong in (["nonsense"], ["--rounds", "0"], ["--rounds", "x"], ["--nonsense"]):
        with pytest.raises(SystemExit) as ended:
            program.arguments(wrong, ["latency"])
        assert ended.value.code == 2


@pytest.mark.parametrize(("lost", "code"), [(0.0, 0), (1.0, 1)])
def test_a_run_writes_and_prints_and_ends_with_what_it_saw(
    lost: float, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = scenario([{"x.lost": lost}], [{}], [])
    monkeypatch.setattr(program, "discover", lambda: {"fake": fake})
    assert program.main(["fake", "--rounds", "1", "--json", "--out", str(tmp_path)]) == code
    (document,) = json.loads(capsys.readouterr().out)
    assert document["scenario"] == "fake"
    assert (tmp_path / "fake.json").is_file()


def test_a_smoke_run_writes_nothing_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "discover", lambda: {"fake": scenario([{}], [{}], [])})
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    assert program.main(["--quick"]) == 0
    assert list(tmp_path.iterdir()) == []
