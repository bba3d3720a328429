"""Shows a result document: its tables, its goals, and what must never be and was."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from bench.scenario import Column, Line, Scenario, Table


def show(scenario: Scenario, result: Mapping[str, Any], console: Console) -> None:
    """Print a result. Each cell is the median over the rounds, with least and greatest where there are several."""
    on, rounds = result["machine"], result["settings"]["rounds"]
    note = " (a smoke run: no figure means anything)" if result["quick"] else ""
    console.print(f"[bold]{scenario.name}[/bold]: median of {rounds} round{'s' * (rounds > 1)}{note}")
    console.print(
        f"{on['cpu']}, {on['cores']} cores, {on['memory_gb']} GB, {on['kernel']}, fdatasync {on['fdatasync_ms']} ms",
        style="dim",
    )
    if on["load_before"] > on["cores"] / 4:
        console.print(f"the machine was not at rest: load {on['load_before']} before the run", style="yellow")
    for table in scenario.tables:
        shown = rows(table, result["summary"])
        if not shown:
            continue
        drawn = RichTable(box=box.SIMPLE_HEAD)
        drawn.add_column("")
        for column in table.columns:
            drawn.add_column(column.heading, justify="right")
        for row in shown:
            drawn.add_row(*row)
        console.print(Text(table.title, style="italic"))
        console.print(drawn)
    for goal in result["goals"]:
        mark = "[green]met[/green]" if goal["met"] else "[yellow]missed[/yellow]"
        console.print(f"  {goal['goal']}: {goal['median']:.2f}, {mark}")
    for violation in result["violations"]:
        console.print(f"  [red]violated[/red] {violation}")


def rows(table: Table, summary: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[list[str]]:
    """The cells of a table's lines, without those of which nothing was measured."""
    found = []
    for line in table.lines:
        cells = [_cell(line, column, summary) for column in table.columns]
        if any(cells):
            found.append([line.label, *cells])
    return found


def _cell(line: Line, column: Column, summary: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    figure = summary.get(line.contender, {}).get(line.prefix + column.suffix)
    if figure is None:
        return ""
    median, least, most = (f"{figure[name]:,.{column.decimals}f}" for name in ("median", "min", "max"))
    return median if least == most else f"{median} ({least}–{most})"
