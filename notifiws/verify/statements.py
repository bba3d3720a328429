"""verify's SQL, a file each in `notifiws/verify/sql`."""

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).with_name("sql")
CHANNELS = {"alpha": "notifiws-verify.alpha", "beta": "notifiws-verify.beta"}
SAYS = "notifiws-verify.says"


@cache
def statement(name: str, table: str = "") -> str:
    """The text of `<name>.sql`, for one of the tables where it has a `{table}`."""
    return (_FOLDER / f"{name}.sql").read_text(encoding="utf-8").replace("{table}", table)
