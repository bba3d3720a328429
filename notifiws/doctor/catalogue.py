"""All checks, in the order of their reports, and their table for docs/doctor.md.

A new area is a module of `checks/` that is named here; a new check is a function in one of them.
"""

from types import ModuleType
from typing import Final

from notifiws.doctor.checks import log, postgres, redis, schema, services, settings, watches
from notifiws.doctor.finding import Check

_AREAS: Final[tuple[ModuleType, ...]] = (postgres, schema, watches, log, redis, services, settings)
CHECKS: Final[tuple[Check, ...]] = tuple(
    value for area in _AREAS for value in vars(area).values() if isinstance(value, Check)
)


def reference() -> str:
    """The checks as Markdown tables, one an area. docs/doctor.md holds exactly this."""
    parts = []
    for area in _AREAS:
        name = area.__name__.rpartition(".")[2]
        rows = [f"## {name}", "", "| code | severity | what it means | what mends it |", "|---|---|---|---|"]
        for each in CHECKS:
            if each.area == name:
                ends = f" (exit {each.ends})" if each.ends > 1 else ""
                rows.append(f"| `{each.code}` | {each.severity}{ends} | {_cell(each.means)} | {_cell(each.mend)} |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
