"""Runs a scenario's contenders in turn, round after round.

Interleaved: a machine that slows down for a while then slows all of them. Each round starts with another contender, so
none is always first after a pause.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.figures import Figures
from bench.scenario import Field, Options, Scenario


@dataclass(frozen=True, slots=True)
class Round:
    """What one contender measured in one round."""

    number: int
    contender: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that a scenario's run brought."""

    scenario: Scenario
    options: Options
    field: Field
    rounds: Sequence[Round]

    @property
    def violations(self) -> list[str]:
        """What must never be and was."""
        return self.scenario.violations([(each.contender, each.figures) for each in self.rounds])

    def of(self, contender: str) -> list[Figures]:
        """The figures of one contender, a round each."""
        return [each.figures for each in self.rounds if each.contender == contender]


def order(count: int, number: int) -> list[int]:
    """Whose turn it is in round `number` (from 1): 0 1 2, then 1 2 0, then 2 0 1, …"""
    return [(start + number - 1) % count for start in range(count)]


async def run(scenario: Scenario, options: Options, progress: Callable[[str], None]) -> Outcome:
    """Set the scenario up, run its rounds, take it down. Raises BenchError where no figure is to be had."""
    rounds: list[Round] = []
    progress(f"{scenario.name}: starting")
    async with scenario.open(options) as field:
        for number in range(1, options.rounds + 1):
            for turn in order(len(field.contenders), number):
                contender = field.contenders[turn]
                progress(f"{scenario.name}: round {number} of {options.rounds}, {contender.name}")
                rounds.append(Round(number, contender.name, await contender.round()))
    return Outcome(scenario, options, field, rounds)
