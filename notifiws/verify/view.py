"""What people see in the terminal: a live view while a run runs, and its summary. Silent where nobody looks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from notifiws.verify.page import headline
from notifiws.verify.report import meanings
from notifiws.verify.run import Progress


@asynccontextmanager
async def live(progress: Progress, console: Console) -> AsyncIterator[None]:
    """Show the progress of a run inside this block, when the console is a terminal."""
    if not console.is_terminal:
        yield
        return
    with Live(_shown(progress, 0.0), console=console, refresh_per_second=4, transient=True) as shown:

        async def refresh() -> None:
            before = 0
            while True:
                await asyncio.sleep(0.5)
                rate = (progress.spool.committed - before) * 2.0
                before = progress.spool.committed
                shown.update(_shown(progress, rate))

        task = asyncio.create_task(refresh())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _shown(progress: Progress, rate: float) -> Table:
    options, spool, crowd, nemesis = progress.options, progress.spool, progress.crowd, progress.nemesis
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(style="bold")
    facts.add_column()
    now = spool.now if crowd else 0.0
    facts.add_row(progress.phase, f"{now:.0f} of {options.seconds:.0f} s, seed {options.seed}")
    facts.add_row("", ProgressBar(total=options.seconds, completed=min(now, options.seconds), width=60))
    facts.add_row("committed", f"{spool.committed:,} transactions, {rate:,.0f} a second")
    facts.add_row("delivered", f"{spool.delivered:,} events")
    if crowd is not None:
        facts.add_row("live", f"{crowd.connected} of {len(crowd.steady) + len(crowd.wanderers)} clients")
    facts.add_row("faults", f"{len(spool.faults)}")
    if nemesis is not None:
        doing = Text(nemesis.doing, style="red") if nemesis.doing else Text("–", style="dim")
        facts.add_row("now", doing)
        for fault in spool.faults[:-6:-1]:
            facts.add_row("", Text(f"{fault.at:7.1f} s  {fault.kind} {fault.target}", style="dim"))
    return facts


def summary(result: Mapping[str, Any], console: Console) -> None:
    """The verdict, what was looked at, how long recoveries took, and the evidence."""
    seen = result["seen"]
    console.print(
        Text(headline(result), style="bold green" if result["clean"] else "bold red"),
        Text(
            f"in {seen.get('changes', 0):,} changes and {seen.get('deliveries', 0):,} deliveries through "
            f"{len(result['faults'])} faults, {result['seconds']:.0f} s, seed {result['seed']}"
        ),
    )
    counts = Table.grid(padding=(0, 2, 0, 0))
    counts.add_column()
    counts.add_column(justify="right")
    counts.add_column(style="dim")
    for kind, number in result["violations"].items():
        counts.add_row(kind, Text(f"{number:,}", style="bold red" if number else "green"), meanings()[kind])
    told = sum(result["told"].values())
    counts.add_row("told", f"{told:,}", "times a client was told to fetch afresh (no violation)")
    console.print(counts)
    if result["recoveries"]:
        console.print(_recoveries(result["recoveries"]))
    for trouble in result["troubles"]:
        console.print(Text(f"unfinished: {trouble}", style="red"))
    for each in result["evidence"]:
        where = " · ".join(str(word) for word in (each["client"], each["channel"]) if word)
        console.print(Text(f"{each['kind']}: {each['text']}", style="red"), Text(where, style="dim"))
        for line in (*each["evidence"], *(f"during: {fault}" for fault in each["during"])):
            console.print(Text(f"  {line}"), soft_wrap=True)


def _recoveries(rows: list[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("recovery, s")
    for name in ("times", "alone", "held", "p50", "p99", "max"):
        table.add_column(name, justify="right")
    for row in rows:
        figures = ("–" if row[name] is None else f"{row[name]:.2f}" for name in ("held_max", "p50", "p99", "max"))
        table.add_row(f"{row['kind']} {row['target']}", str(row["faults"]), str(row["alone"]), *figures)
    return table
