"""The SQL of this release, read from the files beside this module. Knows no driver."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

_HERE: Final = Path(__file__).parent


class Migration(NamedTuple):
    """One numbered step of the tables' history."""

    number: int
    name: str
    sql: str

    @property
    def title(self) -> str:
        """As its file is called."""
        return f"{self.number:04d}_{self.name}"


@cache
def query(name: str) -> str:
    """The statement in `db/queries/<name>.sql`. Raises KeyError for a name that no file has."""
    path = _HERE / "queries" / f"{name}.sql"
    if not name.isidentifier() or not path.is_file():
        raise KeyError(f"no query {name!r} in {path.parent}")
    return path.read_text(encoding="utf-8")


@cache
def query_names() -> tuple[str, ...]:
    """All names that `query` knows, sorted."""
    return tuple(sorted(path.stem for path in (_HERE / "queries").glob("*.sql")))


@cache
def migrations() -> tuple[Migration, ...]:
    """The migrations in order. Their numbers are 1, 2, 3 … without a gap, else ValueError."""
    steps = []
    for expected, path in enumerate(sorted((_HERE / "migrations").glob("*.sql")), start=1):
        number, _, name = path.stem.partition("_")
        if number != f"{expected:04d}":
            raise ValueError(f"migration {path.name} should have number {expected:04d}")
        steps.append(Migration(expected, name, path.read_text(encoding="utf-8")))
    return tuple(steps)


@cache
def functions() -> str:
    """All functions and views. Bodies are checked when called, not when applied."""
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted((_HERE / "functions").glob("*.sql")))


@cache
def privileges() -> str:
    """Who may use the schema."""
    return (_HERE / "privileges.sql").read_text(encoding="utf-8")


@cache
def functions_digest() -> str:
    """Tells one release's functions and privileges from another's."""
    return hashlib.sha256(f"{functions()}\n{privileges()}".encode()).hexdigest()[:32]


@cache
def schema() -> str:
    """The tables as they are after the last migration. For readers and tests; migrate never runs it."""
    return (_HERE / "schema.sql").read_text(encoding="utf-8")


def schema_version() -> int:
    """The schema version that this release makes and wants."""
    return len(migrations())
