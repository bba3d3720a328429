"""The report says everything, escapes what it shows, and needs nothing from elsewhere."""

import json
import re
from pathlib import Path
from typing import Any

from rich.console import Console

from notifiws.verify import page, report, view
from notifiws.verify.checker import check
from notifiws.verify.faults import Fault
from notifiws.verify.history import Fault as Done
from notifiws.verify.verdict import Kind
from tests.unit.verify.made import World


def result(*, broken: bool) -> dict[str, Any]:
    world = World()
    for rows in ((1,), (1, 2), (2,), (1,)):
        world.step(*rows)
    world.heard("one")
    world.heard("<b>two</b>", *(world.frames[:1] if broken else []), *world.frames[2 if broken else 0 :])
    world.history.faults = [Done(0.2, 1.2, "slow", "node-redis of node 1"), Done(1.0, 1.0, "kill", "listener 2")]
    return report.document(
        check(world.history),
        command="notifiws verify --seed 7",
        seed=7,
        seconds=3.0,
        settings={"writers": 4},
        faults=[Fault("kill", "listener")],
        servers={"postgres": "18.4"},
        troubles=[],
        skipped=0,
    )


def test_a_clean_run_is_clean() -> None:
    document = result(broken=False)
    assert document["clean"] is True
    assert document["violations"] == dict.fromkeys(map(str, Kind), 0)
    assert [fault["kind"] for fault in document["faults"]] == ["slow", "kill"]
    assert {"p50_ms", "p99_ms", "max_ms"} <= document["latency"][0].keys()
    assert json.loads(json.dumps(document)) == document
    html = page.html(document)
    assert "No violation" in html
    assert "notifiws verify --seed 7" in html


def test_the_page_needs_nothing_from_elsewhere_and_knows_the_dark() -> None:
    html = page.html(result(broken=False))
    assert not re.findall(r"(?:src|href)=|@import|url\(|https?://", html)
    assert "prefers-color-scheme: dark" in html
    assert html.count("<polyline") == 3
    assert html.count('class="held"') == 2


def test_violations_are_shown_with_their_evidence_and_escaped() -> None:
    document = result(broken=True)
    assert document["clean"] is False
    assert document["violations"]["lost"] == 2
    html = page.html(document)
    assert "3 violations" in html
    assert "<b>two</b>" not in html
    assert "&lt;b&gt;two&lt;/b&gt;" in html
    console = Console(record=True, width=140, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    view.summary(document, console)
    console.file.close()
    text = console.export_text()
    assert "3 violations" in text
    assert "a frame continues e1:2-3, and the client stands at e1:1-1" in text


def test_it_is_written_whole(tmp_path: Path) -> None:
    document = result(broken=False)
    report.write(document, tmp_path / "new" / "folder", page.html(document))
    assert json.loads((tmp_path / "new/folder/report.json").read_text(encoding="utf-8")) == document
    assert (tmp_path / "new/folder/report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
