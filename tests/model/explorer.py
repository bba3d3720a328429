"""Every order of events of a world, without repeats: a breadth-first walk over all that can be reached."""

import pickle
from collections import deque
from dataclasses import dataclass

from tests.model.world import Violation, World


class Violated(AssertionError):
    """A violation, with the shortest way to it."""


@dataclass(frozen=True, slots=True)
class Explored:
    """How much was seen."""

    states: int
    ends: int


def explore(world: World, *, most: int = 2_000_000) -> Explored:
    """Visit every world that can come of this one. Raises Violated; RuntimeError where there are more than `most`."""
    start = pickle.dumps(world)
    came: dict[bytes, tuple[bytes, str] | None] = {start: None}
    waiting = deque([start])
    ends = 0
    while waiting:
        state = waiting.popleft()
        here: World = pickle.loads(state)
        progress = [name for name, _ in here.actions()]
        try:
            here.check()
            if not progress:
                ends += 1
                here.check_end()
        except Violation as violation:
            raise Violated("\n  ".join([str(violation), *_way(came, state)])) from None
        for place in range(len(progress) + sum(1 for _ in here.mishaps())):
            there: World = pickle.loads(state)
            name, act = [*there.actions(), *there.mishaps()][place]
            try:
                act(there)
            except Violation as violation:
                raise Violated("\n  ".join([str(violation), *_way(came, state), name])) from None
            reached = pickle.dumps(there)
            if reached not in came:
                came[reached] = (state, name)
                waiting.append(reached)
        if len(came) > most:
            raise RuntimeError(f"more than {most} worlds")
    return Explored(len(came), ends)


def _way(came: dict[bytes, tuple[bytes, str] | None], state: bytes) -> list[str]:
    names = []
    step = came[state]
    while step is not None:
        names.append(step[1])
        step = came[step[0]]
    return names[::-1]
