"""What the checker found: violations counted by kind, a few of each with their shortest evidence, and what was seen."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

EXAMPLES: Final = 5


class Kind(StrEnum):
    """What must never be."""

    LOST = "lost"  # a committed change that a client should have heard, and did not
    DUPLICATED = "duplicated"  # a change that came twice
    REORDERED = "reordered"  # a change that came before one that it could see
    PHANTOM = "phantom"  # an event of nothing that was committed
    CHANGED = "changed"  # an event that says something else than the table
    GAP = "gap"  # a frame that begins beyond the client's position, and no reset
    STALE = "stale"  # a position that goes backwards, or is another than the one asked for
    STATE = "state"  # the table, replayed from the events, is not the table


WORDS: Final = {
    Kind.LOST: "committed, and never delivered",
    Kind.DUPLICATED: "delivered twice",
    Kind.REORDERED: "delivered before a change that it could see",
    Kind.PHANTOM: "delivered, and never committed",
    Kind.CHANGED: "delivered with other values than committed",
    Kind.GAP: "gaps that nobody was told of",
    Kind.STALE: "positions that went backwards",
    Kind.STATE: "rows that a replay of the events gets wrong",
}


@dataclass(frozen=True)
class Violation:
    """One of them: what is wrong in a sentence, and the few records that show it."""

    kind: Kind
    text: str
    client: str | None = None
    channel: str | None = None
    at: float | None = None
    evidence: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "kind": str(self.kind),
            "text": self.text,
            "client": self.client,
            "channel": self.channel,
            "at": None if self.at is None else round(self.at, 3),
            "evidence": list(self.evidence),
        }


@dataclass
class Verdict:
    """The checker's answer."""

    counts: Counter[Kind] = field(default_factory=Counter)
    examples: list[Violation] = field(default_factory=list)
    # What was looked at: without it, zero violations mean nothing.
    seen: Counter[str] = field(default_factory=Counter)
    # How often clients were told to fetch afresh, by reason. Honest, so no violation; but not nothing.
    told: Counter[str] = field(default_factory=Counter)

    @property
    def clean(self) -> bool:
        """Whether nothing was violated."""
        return not self.counts.total()

    def add(self, violation: Violation) -> None:
        """Count it, and keep it when it is among the first of its kind."""
        self.counts[violation.kind] += 1
        if self.counts[violation.kind] <= EXAMPLES:
            self.examples.append(violation)
