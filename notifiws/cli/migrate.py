"""`notifiws migrate`: bring schema `notifiws` to this release, or say how it stands to it."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from notifiws.cli.connect import DEFAULT_DATA_DIR, DataDir

if TYPE_CHECKING:
    from db.migrate import SchemaReport


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(migrate)


def migrate(
    check: Annotated[
        bool, typer.Option("--check", help="change nothing; exit 0 when there is nothing to do, else 6")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Create schema notifiws, or bring it to this release. Safe to run again, and beside running writers and listeners.

    Needs to own the database and CREATEROLE, no superuser.
    """
    if check:
        _check(data_dir, as_json)
    else:
        _migrate(data_dir, as_json)


def _migrate(data_dir: "DataDir", as_json: bool) -> None:
    from db.migrate import migrate as work
    from notifiws.cli.connect import run

    result = run(data_dir, work, schema=False)
    for problem in result.problems:
        typer.echo(f"warning: {problem}\nfix: run notifiws.watch on the table again", err=True)
    if as_json:
        _print(
            from_version=result.from_version,
            version=result.to_version,
            applied=result.applied,
            functions_changed=result.functions_changed,
            problems=result.problems,
        )
        return
    for name in result.applied:
        typer.echo(f"applied {name}")
    if result.to_version > result.from_version:
        typer.echo(f"schema notifiws: version {result.from_version} → {result.to_version}")
    elif result.functions_changed:
        typer.echo(f"schema notifiws: version {result.to_version}, functions renewed")
    else:
        typer.echo(f"schema notifiws: version {result.to_version}, nothing to do")


def _check(data_dir: "DataDir", as_json: bool) -> None:
    """Raises SchemaMismatch when a migrate would do something, or would be refused."""
    import asyncpg

    from db.migrate import SchemaForeign, SchemaMissing, SchemaTooNew, inspect_schema
    from notifiws.cli.connect import run
    from notifiws.cli.errors import SchemaMismatch

    refused: dict[type[Exception], str] = {SchemaTooNew: "too_new", SchemaForeign: "foreign"}

    async def work(connection: "asyncpg.Connection[Any]") -> "SchemaReport":
        try:
            return await inspect_schema(connection)
        except tuple(refused) as error:
            if as_json:
                _print(state=refused[type(error)], problem=str(error))
            raise

    report = run(data_dir, work, schema=False)
    if as_json:
        _print(state=report.state, version=report.version, wanted=report.wanted, pending=report.pending)
    match report.state:
        case "missing":
            found = f"schema notifiws is missing, this release needs version {report.wanted}"
        case "behind" if report.version < report.wanted:
            found = f"schema notifiws has version {report.version}, this release needs version {report.wanted}"
        case "behind":
            found = f"schema notifiws has version {report.version}, and not yet this release's {_words(report.pending)}"
        case "newer":
            _say(as_json, f"version {report.version}, newer than this release's {report.wanted} and compatible with it")
            return
        case _:
            _say(as_json, f"version {report.version}, nothing to do")
            return
    raise SchemaMismatch(found, SchemaMissing.fix)


def _words(pending: tuple[str, ...]) -> str:
    return " and ".join(pending).replace("captures", "capture functions")


def _say(as_json: bool, text: str) -> None:
    if not as_json:
        typer.echo(f"schema notifiws: {text}")


def _print(**document: Any) -> None:
    typer.echo(json.dumps(document))
