"""The loader's view of the SQL files, and the rules that those keep."""

import re
from pathlib import Path

import pytest

from db import loader

ROOT = Path(loader.__file__).parent


def test_queries_are_one_statement_each_and_say_what_they_are() -> None:
    for name in loader.query_names():
        text = loader.query(name)
        assert text.startswith("-- "), name
        code = re.sub(r"--[^\n]*", "", text).strip()
        assert ";" not in code, name
        assert code.split()[0] in ("select", "insert", "update", "delete"), name


def test_an_unknown_name_is_an_error() -> None:
    for name in ("nothing", "../schema", ""):
        with pytest.raises(KeyError):
            loader.query(name)


def test_migrations_are_numbered_without_a_gap() -> None:
    assert [step.number for step in loader.migrations()] == list(range(1, loader.schema_version() + 1))


def test_functions_fix_their_search_path_and_are_replaced_in_place() -> None:
    """A SECURITY DEFINER function without one would run what a caller's search_path holds."""
    text = loader.functions()
    functions = re.findall(r"^create (?:or replace )?function .*?(?=^\$\$;|^return )", text, re.M | re.S)
    assert len(functions) > 20
    for function in functions:
        name = function.split("(")[0].split()[-1]
        assert function.startswith("create or replace"), name
        # These are one expression that Postgres parses when it is made: their names are bound by then.
        bound = name in ("notifiws.slot", "notifiws.live_query")
        assert "set search_path = pg_catalog, pg_temp" in function or bound, name


def test_everything_is_named_in_full() -> None:
    """Nothing of ours is found by search_path."""
    for path in [*ROOT.glob("functions/*.sql"), *ROOT.glob("queries/*.sql"), *ROOT.glob("migrations/*.sql")]:
        code = re.sub(r"--[^\n]*|'[^']*'", "", path.read_text(encoding="utf-8"))
        for name in ("outbox", "tick", "watch_entry", "adopted", "incident", "meta"):
            assert not re.search(rf"\b(?:from|into|join|update|truncate) {name}\b", code), f"{path.name}: {name}"
