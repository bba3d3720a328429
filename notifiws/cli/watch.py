"""`notifiws watch`, `unwatch`, `watches`: which tables' changes are captured, and on which channels."""

import csv
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from notifiws.cli.connect import DEFAULT_DATA_DIR, DataDir
from notifiws.printable import printable

if TYPE_CHECKING:
    import asyncpg

Table = Annotated[str, typer.Argument(metavar="TABLE", help="as SQL writes it: productos, ventas.pedidos, '\"Ñ\"'")]
Channel = Annotated[str, typer.Option("--channel", help="the public name that clients subscribe to")]
EVENTS = "insert,update,delete,truncate"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(watch)
    app.command()(unwatch)
    app.command()(watches)


def _names(text: str) -> list[str]:
    """A list separated by commas; quotes around a name that has one."""
    return [name.strip() for name in next(csv.reader([text], skipinitialspace=True), [])]


def watch(  # noqa: PLR0917  # typer reads them by name
    table: Table,
    channel: Channel,
    events: Annotated[str, typer.Option(help="which changes")] = EVENTS,
    columns: Annotated[
        str | None, typer.Option(help="only these leave the table, and the key [default: all]", metavar="A,B")
    ] = None,
    when: Annotated[
        str | None, typer.Option(help="only changes for which this is true, over the rows new and old", metavar="SQL")
    ] = None,
    snapshot: Annotated[bool, typer.Option(help="clients may ask for the table's rows")] = True,
    always: Annotated[bool, typer.Option("--always", help="logical apply and other replicas' writes, too")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="check, and print the SQL instead of running it")] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Capture a table's changes on a channel. Watching twice replaces. Writers do not wait for it."""
    from db import loader
    from notifiws.cli.connect import run

    chosen = None if columns is None else _names(columns)
    wanted = _names(events)

    async def work(connection: "asyncpg.Connection[Any]") -> str | None:
        query = loader.query("watch_dry_run" if dry_run else "watch")
        statement: str | None = await connection.fetchval(query, table, channel, wanted, chosen, when, snapshot, always)
        return statement

    statement = run(data_dir, work)
    typer.echo(f"{statement};" if dry_run else f"watching {table} on channel {channel}")


def unwatch(table: Table, channel: Channel, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Stop capturing a table's changes on a channel. Leaves nothing behind in the table."""
    from db import loader
    from notifiws.cli.connect import run

    async def work(connection: "asyncpg.Connection[Any]") -> None:
        there = await connection.fetchval(loader.query("table_exists"), table)
        await connection.execute(loader.query("unwatch" if there else "forget"), table, channel)

    run(data_dir, work)
    typer.echo(f"{table} is no longer watched on channel {channel}")


def watches(
    as_json: Annotated[bool, typer.Option("--json", help="one JSON array")] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """List what is watched, and whether its triggers are in force."""
    from db import loader
    from notifiws.cli.connect import run

    async def work(connection: "asyncpg.Connection[Any]") -> list[dict[str, Any]]:
        return [dict(row) for row in await connection.fetch(loader.query("watches"))]

    found = run(data_dir, work)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, default=str))
    elif found:
        _show(found)
    else:
        typer.echo("nothing is watched; `notifiws watch TABLE --channel NAME` starts it", err=True)


def _show(found: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table as Grid

    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("table", "channel", "events", "columns", "when", "in force"):
        grid.add_column(name, no_wrap=True, overflow="ignore")
    for entry in found:
        columns = "all" if entry["columns"] is None else ", ".join(entry["columns"]) or "key"
        state = "yes" if entry["in_force"] else "NO"
        grid.add_row(
            printable(entry["table"]),
            entry["channel"],
            ", ".join(entry["events"]),
            printable(columns),
            printable(" ".join((entry["condition"] or "").split())) + (" (always)" if entry["always"] else ""),
            printable(f"{state}: {entry['problem']}") if entry["problem"] else state,
        )
    Console(highlight=False, markup=False, width=1000).print(grid)
