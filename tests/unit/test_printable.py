"""What others chose is shown as text, and does nothing to a terminal."""

import pytest

from notifiws.doctor.facts import Facts
from notifiws.doctor.finding import Finding, Severity
from notifiws.doctor.report import Report, show
from notifiws.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('public."Ventas Ñ €"', 'public."Ventas Ñ €"'),
        ("a\nforged\r\x1b[31m\x9b2J\0", r"a\nforged\r\x1b[31m\x9b2J\x00"),
        ("moc.elpmaxe\u202e\u2028", r"moc.elpmaxe\u202e\u2028"),
    ],
)
def test_controls_are_escapes(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_doctor_writes_none(capsys: pytest.CaptureFixture[str]) -> None:
    name = 'public."t\n\x1b[31m"'
    finding = Finding("watch_not_in_force", Severity.ERROR, "watches", f"the watch of {name}", "why", f"alter {name}")
    show(Report([finding], Facts(), frozenset()))
    said = capsys.readouterr().out
    assert r'the watch of public."t\n\x1b[31m"' in said
    assert r'alter public."t\n\x1b[31m"' in said
    assert "\x1b[31m" not in said
