"""How a publication stands to a position. All merging of live and history on a node is decided here. No I/O.

A channel's publications form a chain: each names its predecessor (`prev`). Whoever holds a position applies the next
publication only if nothing lies between, so a silent gap cannot be.
"""

from enum import Enum, auto

from shared.position import Position
from shared.publication import Publication


class Step(Enum):
    """What to do with a publication."""

    STALE = auto()  # all of it was applied already: drop it
    NEXT = auto()  # apply what lies beyond the position
    GAP = auto()  # something lies between: read it first
    FOREIGN = auto()  # of another epoch


def step(position: Position, publication: Publication) -> Step:
    """What `publication` is to somebody who stands at `position`."""
    if publication.position.epoch != position.epoch:
        return Step.FOREIGN
    if publication.position.order <= position.order:
        return Step.STALE
    if publication.prev.order > position.order:
        return Step.GAP
    return Step.NEXT
