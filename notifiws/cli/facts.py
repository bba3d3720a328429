"""Prints a short list of named facts for people, one a line."""

from collections.abc import Iterable


def show(facts: Iterable[tuple[str, str]], *, before: str = "", after: str = "") -> None:
    """To stdout, names aligned. A URL is never cut or folded: it could not be copied."""
    from rich.console import Console
    from rich.table import Table

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True, overflow="ignore")
    for name, fact in facts:
        table.add_row(name, fact)
    # Wider than any line, so that the terminal and not the table wraps a long one.
    console = Console(highlight=False, markup=False, width=1000)
    if before:
        console.print(before, style="bold")
    console.print(table)
    if after:
        console.print(after, style="dim")
