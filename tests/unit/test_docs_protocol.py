"""docs/protocol.md says what the code says: close codes with a retry rule, frames, limits, reasons."""

import re
from pathlib import Path

from shared.codes import CloseCode, Lost
from ws_service.limits import Limits
from ws_service.session import _FIELDS

PAGE = (Path(__file__).parents[2] / "docs/protocol.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


def test_each_close_code_has_a_retry_rule() -> None:
    rows = re.findall(r"^\| (\d{4}) \| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", section("Close codes"), re.MULTILINE)
    assert {(int(number), name) for number, name, _, _ in rows} == {(int(code), code.name) for code in CloseCode}
    assert all(when.strip() and rule.strip() for _, _, when, rule in rows)


def test_client_frames_and_their_fields() -> None:
    table = section("`notifiws.v1`").split("| server sends")[0]
    listed = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", table, re.MULTILINE))
    assert listed.keys() == _FIELDS.keys()
    unbuilt = {"filter", "snapshot", "conflate"}
    for kind, fields in _FIELDS.items():
        for field in fields - {"type"} - unbuilt:
            assert re.search(rf"`{field}\??`", listed[kind]), (kind, field)


def test_limits() -> None:
    assert set(Limits().announced()) <= set(re.findall(r"`(\w+)`", section("Limits")))
    assert "| `frame_bytes` | 65536 |" in PAGE
    assert f"| `messages_per_second` | {Limits().messages_per_second}," in PAGE
    assert f"| `history_events` | {Limits().history_events} |" in PAGE


def test_reasons() -> None:
    assert all(f"(`{reason}`)" in section("`notifiws.v1`") for reason in Lost)
