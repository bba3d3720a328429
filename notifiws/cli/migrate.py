"""`notifiws migrate`: bring schema `notifiws` to this release."""

import typer

from notifiws.cli.connect import DEFAULT_DATA_DIR, DataDir


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(migrate)


def migrate(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Create schema notifiws, or bring it to this release. Safe to run again, and beside running writers.

    Needs to own the database and CREATEROLE, no superuser.
    """
    from db.migrate import migrate as work
    from notifiws.cli.connect import run

    result = run(data_dir, work, schema=False)
    for name in result.applied:
        typer.echo(f"applied {name}")
    if result.applied:
        typer.echo(f"schema notifiws: version {result.from_version} → {result.to_version}")
    elif result.functions_changed:
        typer.echo(f"schema notifiws: version {result.to_version}, functions renewed")
    else:
        typer.echo(f"schema notifiws: version {result.to_version}, nothing to do")
