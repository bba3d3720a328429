"""docs/errors.md lists exactly the codes of the code."""

import re
from pathlib import Path

from notifiws.cli import errors
from shared.codes import ErrorCode, Lost, Unready, Warned

PAGE = (Path(__file__).parents[2] / "docs/errors.md").read_text(encoding="utf-8")


def codes(section: str) -> list[str]:
    text = PAGE.split(f"## {section}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE)


def test_frames_and_http() -> None:
    assert sorted(codes("Frames and HTTP")) == sorted([*ErrorCode, *Lost, "not_found"])


def test_readyz_reasons() -> None:
    assert sorted(codes("`/readyz` reasons")) == sorted(Unready)


def test_readyz_warnings() -> None:
    assert sorted(codes("`/readyz` warnings")) == sorted(Warned)


def test_command_line_with_its_exit_codes() -> None:
    listed = dict(re.findall(r"^\| `([a-z_]+)` \| (\d) \|", PAGE, re.MULTILINE))
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.CliError)]
    assert {kind.default_code: str(kind.exit_code) for kind in kinds}.items() <= listed.items()
    assert listed.keys() - {kind.default_code for kind in kinds} == {"unsupported"}
