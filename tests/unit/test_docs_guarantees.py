"""docs/guarantees.md names tests that exist, and at least one for each guarantee."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/guarantees.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


def test_every_test_that_is_named_exists() -> None:
    missing = [
        f"{path}::{name}"
        for path, name in NAMED
        if not (ROOT / path).exists()
        or not re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert missing == []


def test_every_guarantee_has_one() -> None:
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    guarantees = [section for section in sections if re.match(r"G\d ", section)]
    assert [section[:2] for section in guarantees] == [f"G{number}" for number in range(1, 9)]
    assert all(re.search(r"`tests/[\w/]+\.py::\w+`", section) for section in guarantees)
