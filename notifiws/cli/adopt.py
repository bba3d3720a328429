"""`notifiws adopt`, `unadopt`: relay plain NOTIFY channels."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from notifiws.cli.connect import DEFAULT_DATA_DIR, DataDir

if TYPE_CHECKING:
    import asyncpg

PgChannel = Annotated[str, typer.Argument(metavar="PG_CHANNEL", help="the channel that pg_notify or NOTIFY names")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(adopt)
    app.command()(unadopt)


def adopt(
    pg_channel: PgChannel,
    channel: Annotated[str, typer.Option("--channel", help="the public name that clients subscribe to")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Relay a plain NOTIFY channel: its payloads, verbatim, become events of a channel. Adopting again renames.

    The hop from NOTIFY to the listener stays at most once; `notifiws watch` has no such gap.
    """
    _call("adopt", data_dir, pg_channel, channel)
    typer.echo(f"relaying NOTIFY channel {pg_channel} on channel {channel}")


def unadopt(pg_channel: PgChannel, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Stop relaying a plain NOTIFY channel."""
    _call("unadopt", data_dir, pg_channel)
    typer.echo(f"NOTIFY channel {pg_channel} is no longer relayed")


def _call(query: str, data_dir: "DataDir", *args: str) -> None:
    from db import loader
    from notifiws.cli.connect import run

    async def work(connection: "asyncpg.Connection[Any]") -> None:
        connection.add_log_listener(_warn)
        await connection.execute(loader.query(query), *args)

    run(data_dir, work)


def _warn(_: object, message: "asyncpg.PostgresLogMessage") -> None:
    """What the database takes, and warns of."""
    if getattr(message, "severity_en", None) == "WARNING":
        typer.echo(f"warning: {message.message}\nfix: {message.hint}", err=True)
