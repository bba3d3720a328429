"""`notifiws emit`: a custom event, committed at once."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from notifiws.cli.connect import DEFAULT_DATA_DIR, DataDir

if TYPE_CHECKING:
    import asyncpg


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(emit)


def emit(
    channel: Annotated[str, typer.Argument(metavar="CHANNEL", help="the public name that clients subscribe to")],
    payload: Annotated[str, typer.Argument(metavar="JSON", help="the payload; - reads it from stdin")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Emit an event. Inside a transaction of your own, call notifiws.emit(channel, payload) instead."""
    from db import loader
    from notifiws.cli.connect import run
    from notifiws.cli.errors import Failed, UsageError

    text = sys.stdin.read() if payload == "-" else payload

    async def work(connection: "asyncpg.Connection[Any]") -> None:
        import asyncpg

        from db.migrate import check_schema

        try:
            await check_schema(connection)
            await connection.execute(loader.query("emit"), channel, text)
        except (asyncpg.InvalidTextRepresentationError, asyncpg.UntranslatableCharacterError) as error:
            raise UsageError(
                f"the payload is not JSON that Postgres stores: {getattr(error, 'detail', None) or error}",
                f"quote it for the shell, such as: notifiws emit {channel} '{{\"total\": 12.50}}'",
            ) from error
        except asyncpg.ProgramLimitExceededError as error:
            raise UsageError(str(error.args[0]), getattr(error, "hint", None)) from error
        except asyncpg.InsufficientPrivilegeError as error:
            raise Failed(
                f"the role may not emit: {error.args[0]}",
                "connect as a member of notifiws_emitter (GRANT notifiws_emitter TO role), or as the database's owner",
            ) from error

    run(data_dir, work, schema=False)
