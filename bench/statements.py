"""The benchmarks' SQL, a file each in `bench/sql`."""

from pathlib import Path

_FOLDER = Path(__file__).with_name("sql")


def statement(name: str) -> str:
    """The text of `bench/sql/<name>.sql`."""
    return (_FOLDER / f"{name}.sql").read_text(encoding="utf-8")
