"""What doctor prints: what was checked, each finding with its mend on a line of its own, and a sum at the end."""

import json
from dataclasses import replace

import pytest

from notifiws.doctor.examine import judge
from notifiws.doctor.facts import Unchecked
from notifiws.doctor.report import show
from tests.unit.test_doctor_checks import HEALTHY, NOTIFIER, setting


def test_nothing_found(capsys: pytest.CaptureFixture[str]) -> None:
    show(judge(HEALTHY))
    assert capsys.readouterr().out.splitlines() == [
        "postgres    PostgreSQL 18.0 at 127.0.0.1:5432/notifiws as notifiws_owner",
        "schema      version 2",
        "watches     1 watched, 0 adopted",
        "log         epoch aaaaaaaa, tick 7, 0.0 MB, 0.0 s behind",
        "redis       Redis 7.0.15 at 127.0.0.1:6379/0 as default",
        "listener    http://127.0.0.1:8001 leader",
        "settings    notifiws 0",
        "",
        "nothing found",
    ]


def test_findings(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    facts = replace(setting("fsync", "off"), notifiers=[NOTIFIER, NOTIFIER], unchecked=[Unchecked("redis: save", "no")])
    show(judge(facts))
    said = capsys.readouterr().out
    assert "not checked redis: save: no\n" in said
    # Not folded, however narrow the terminal: it is to be copied.
    assert (
        "error fsync_off: fsync is off\n"
        "  why         a crash of the machine loses commits that clients have already seen, and may corrupt the "
        "database\n"
        "  fix         ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf()\n"
    ) in said
    assert said.endswith("\n1 error, 2 notes\n")


def test_json() -> None:
    report = json.loads(json.dumps(judge(setting("fsync", "off")).as_json()))
    assert report["findings"][0] == {
        "code": "fsync_off",
        "severity": "error",
        "area": "postgres",
        "what": "fsync is off",
        "why": "a crash of the machine loses commits that clients have already seen, and may corrupt the database",
        "fix": "ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf()",
    }
    assert {name: report[name] for name in ("ok", "exit_code", "version", "unchecked")} == {
        "ok": False, "exit_code": 1, "version": "0", "unchecked": [],
    }  # fmt: skip
