"""What a scenario is: who is compared, what is shown, what must hold, what is hoped for.

A scenario is one module in `bench/scenarios` whose docstring is its method and whose `SCENARIO` is one of these. To add
one, add a module; nothing else has a list.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import bench.scenarios
from bench.figures import Figures


class BenchError(Exception):
    """The benchmark could not be run: no figure is to be had. The text says what happened."""


@dataclass(frozen=True, slots=True)
class Options:
    """How thoroughly to measure."""

    rounds: int
    quick: bool = False  # a smoke run: every step is taken, no figure means anything


class Contender(Protocol):
    """One of those that are compared: we, or a peer."""

    @property
    def name(self) -> str:
        """As the table and the results call it."""

    async def round(self) -> Figures:
        """Measure once, from fresh clients to drained ones, and return flat figures (`idle.after_commit.p50_ms`)."""


@dataclass(frozen=True, slots=True)
class Field:
    """What a scenario has set up for its rounds."""

    contenders: Sequence[Contender]
    versions: Mapping[str, str] = field(default_factory=dict)  # of the servers that take part
    settings: Mapping[str, Any] = field(default_factory=dict)  # sizes, rates, counts, pauses


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a table: the figures of `contender` that begin with `prefix`."""

    label: str
    contender: str
    prefix: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: the figure `prefix + suffix` of each line."""

    heading: str
    suffix: str
    decimals: int = 2


@dataclass(frozen=True, slots=True)
class Table:
    """One table of figures. A line none of whose figures were measured is left out."""

    title: str
    lines: Sequence[Line]
    columns: Sequence[Column]


@dataclass(frozen=True, slots=True)
class Goal:
    """What is hoped for: the median of `figure` at most, or at least, `bound`. Missing it fails nothing."""

    text: str
    contender: str
    figure: str
    bound: float
    kind: Literal["at most", "at least"] = "at most"

    def met(self, value: float) -> bool:
        """Whether a median reaches the goal."""
        return value <= self.bound if self.kind == "at most" else value >= self.bound


@dataclass(frozen=True, slots=True)
class Scenario:
    """One question and how it is answered. `zero` are figures that must be 0 in every round of ours, or it fails."""

    name: str
    method: str
    open: Callable[[Options], AbstractAsyncContextManager[Field]]
    tables: Sequence[Table]
    goals: Sequence[Goal] = ()
    zero: Mapping[str, Sequence[str]] = field(default_factory=dict)  # contender → figures

    def violations(self, rounds: Sequence[tuple[str, Figures]]) -> list[str]:
        """What must never be and was: one line each."""
        return [
            f"{contender}: {figure} = {figures[figure]:g}, must be 0"
            for contender, figures in rounds
            for figure in self.zero.get(contender, ())
            if figures.get(figure)
        ]


def discover() -> dict[str, Scenario]:
    """Every scenario by name, in the order of its module's name."""
    found = {}
    for module in sorted(pkgutil.iter_modules(bench.scenarios.__path__), key=lambda module: module.name):
        scenario: Scenario | None = getattr(importlib.import_module(f"bench.scenarios.{module.name}"), "SCENARIO", None)
        if scenario is not None:
            found[scenario.name] = scenario
    return found
