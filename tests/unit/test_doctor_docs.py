"""docs/doctor.md lists exactly the findings of the code."""

import re
from pathlib import Path

from notifiws.doctor.catalogue import CHECKS, reference

PAGE = (Path(__file__).parents[2] / "docs/doctor.md").read_text(encoding="utf-8")


def test_the_page_holds_the_tables() -> None:
    assert PAGE.endswith(f"{reference()}\n")


def test_each_code_stands_for_one_check() -> None:
    codes = [check.code for check in CHECKS]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]+", code) for code in codes)


def test_each_check_says_what_it_means_and_what_mends_it() -> None:
    for check in CHECKS:
        assert len(check.means) > 20, check.code
        assert check.mend, check.code
        assert (check.ends > 0) is (check.severity == "error"), check.code
