"""The report for people: one HTML file that needs nothing else, for light and dark screens."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any, Final

from notifiws.verify.chart import timeline
from notifiws.verify.report import meanings

_TEMPLATE: Final = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
_SEEN: Final = {
    "changes": "changes committed",
    "deliveries": "events delivered",
    "clients": "clients",
    "connections": "connections lost",
    "resumes": "resumes",
    "waits": "waits for one change",
    "rows": "rows compared",
    "faults": "faults",
}


def html(result: Mapping[str, Any]) -> str:
    """The page of a document."""
    count = sum(result["violations"].values())
    return _TEMPLATE.substitute(
        headline=headline(result),
        mood="good" if result["clean"] else "bad",
        summary=escape(_summary(result)),
        violations="".join(
            _tile(f"{number:,}", f"{kind}: {meanings()[kind]}", bad=number > 0)
            for kind, number in result["violations"].items()
        ),
        seen="".join(_tile(f"{result['seen'].get(name, 0):,}", words) for name, words in _SEEN.items()),
        told=_told(result),
        evidence=_evidence(result, count),
        timeline=timeline(result["seconds"], result["latency"], result["faults"]),
        recoveries=_recoveries(result["recoveries"]),
        method=escape(result["method"]),
        command=escape(result["command"]),
        facts=_facts(result),
    )


def _summary(result: Mapping[str, Any]) -> str:
    seen = result["seen"]
    return (
        f"{seen.get('changes', 0):,} changes committed and {seen.get('deliveries', 0):,} events delivered through "
        f"{len(result['faults'])} faults in {result['seconds']:.0f} seconds; seed {result['seed']}, {result['at']}."
    )


def headline(result: Mapping[str, Any]) -> str:
    """The verdict in a few words."""
    count = sum(result["violations"].values())
    if count:
        return f"{count:,} violation{'s' if count > 1 else ''}"
    return "No violation, but an unfinished run" if result["troubles"] else "No violation"


def _told(result: Mapping[str, Any]) -> str:
    told, changes = result["told"], result["seen"].get("told_changes", 0)
    if not told:
        return '<p class="soft">No client was ever told to fetch afresh.</p>'
    reasons = ", ".join(f"{number:,} × {escape(reason)}" for reason, number in sorted(told.items()))
    more = f"; {changes:,} changes reached nobody because of it" if changes else ""
    return (
        f"<p>Clients were told to fetch afresh {sum(told.values()):,} times ({reasons}){more}. That is honest and no "
        "violation: whoever is told asks the database.</p>"
    )


def _evidence(result: Mapping[str, Any], count: int) -> str:
    parts = [f"<p>{escape(trouble)}</p>" for trouble in result["troubles"]]
    for each in result["evidence"]:
        where = " · ".join(str(word) for word in (each["client"], each["channel"]) if word)
        lines = "\n".join([*each["evidence"], *(f"during: {fault}" for fault in each["during"])])
        parts.append(
            f"<p><b>{escape(each['kind'])}</b> {escape(each['text'])} <span class='soft'>{escape(where)}</span></p>"
            f"<pre>{escape(lines)}</pre>"
        )
    if not parts:
        return ""
    more = f"<p class='soft'>The first few of each kind; {count:,} in all.</p>" if count else ""
    return f"<h2>Evidence</h2>{more}{''.join(parts)}"


def _recoveries(rows: Sequence[Mapping[str, Any]]) -> str:
    def seconds(value: float | None) -> str:
        return "–" if value is None else f"{value:.2f}"

    return _table(
        ("fault", "where", "times", "alone", "held, at most", "p50", "p99", "max"),
        (
            (
                row["kind"],
                row["target"],
                str(row["faults"]),
                str(row["alone"]),
                *(seconds(row[name]) for name in _SECONDS),
            )
            for row in rows
        ),
        numbers=2,
    )


_SECONDS: Final = ("held_max", "p50", "p99", "max")


def _facts(result: Mapping[str, Any]) -> str:
    named = (*result["machine"].items(), *result["versions"].items(), *result["settings"].items())
    return _table(
        ("", ""),
        ((str(name), ", ".join(value) if isinstance(value, list) else str(value)) for name, value in named),
    )


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 99) -> str:
    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=n' if place >= numbers else ''}>{escape(cell)}</{tag}>" for place, cell in enumerate(row)
        )

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    head = f"<tr>{cells(headings, 'th')}</tr>" if any(headings) else ""
    return f"<table>{head}{body}</table>"


def _tile(number: str, words: str, *, bad: bool = False) -> str:
    return f'<div class="tile{" bad" if bad else ""}"><b>{number}</b><span>{escape(words)}</span></div>'
