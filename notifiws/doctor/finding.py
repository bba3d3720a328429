"""What a check is, and what it finds. One check, one code: the function's name is the code, its module is the area.

A check looks at gathered facts and at nothing else; what gathers them is `adapters/`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from notifiws.doctor.facts import Facts


class Severity(StrEnum):
    """Error: events are lost, leak, or stand still. Warning: they may. Note: a better way."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Found:
    """What a check's function yields: what is wrong here, and the mend, where the check's own is not exact enough."""

    what: str
    fix: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """As it is reported. `code` is stable and listed in docs/doctor.md; `fix` is a command where there is one."""

    code: str
    severity: Severity
    area: str
    what: str
    why: str
    fix: str


# The function behind a check.
Look = Callable[["Facts"], Iterable[Found]]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is looked at. `means`: what it does to events; `ends`: the command's exit code with it."""

    code: str
    severity: Severity
    area: str
    means: str
    mend: str
    ends: int
    look: Look

    def findings(self, facts: "Facts") -> list[Finding]:
        """None of them when it cannot be looked at."""
        try:
            found = list(self.look(facts))
        except Unseen:
            return []
        return [
            Finding(self.code, self.severity, self.area, each.what, self.means, each.fix or self.mend) for each in found
        ]


class Unseen(Exception):
    """A check needs facts that were not to be had. Whoever failed to gather them has said why."""


def check(severity: Severity, *, mend: str, ends: int | None = None) -> Callable[[Look], Check]:
    """Make a function a check. Its docstring says what the finding means to events; both are in docs/doctor.md."""

    def make(look: Look) -> Check:
        name: str = look.__name__
        area = look.__module__.rpartition(".")[2]
        means = " ".join((look.__doc__ or "").split()).removesuffix(".")
        return Check(name, severity, area, means, mend, int(severity is Severity.ERROR) if ends is None else ends, look)

    return make
