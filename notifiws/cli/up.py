"""`notifiws up`: the whole stack in the foreground."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from notifiws.cli.errors import Failed, InUse, PostgresAway, SchemaMismatch, UsageError

if TYPE_CHECKING:
    from notifiws.stack.app import Stack

DataDir = Annotated[Path, typer.Option("--data-dir", help="where this stack keeps its data", show_default=True)]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(up)


def up(
    port: Annotated[
        int | None, typer.Option(help="of the shared URL [default: 8000, or the next free one]", min=1, max=65535)
    ] = None,
    nodes: Annotated[int, typer.Option(help="how many WebSocket nodes", min=1, max=64)] = 2,
    data_dir: DataDir = Path(".notifiws"),
    demo: Annotated[
        bool | None,
        typer.Option("--demo/--no-demo", help="a demo inventory that sells [default: only in the embedded database]"),
    ] = None,
) -> None:
    """Start everything and keep it running: database, Redis, listener, nodes, dashboard. Ctrl-C stops it all.

    With DATABASE_URL or REDIS_URL set, those servers are used and not embedded ones.
    """
    from db.migrate import MigrationBlocked, MigrationForbidden, SchemaError
    from notifiws.stack import app as stack
    from notifiws.stack import errors
    from notifiws.stack.database import DatabaseAway
    from notifiws.stack.directory import DataDirectory
    from shared.settings import SettingsError, load
    from ws_service.app import check_settings

    _die_with_make()
    try:
        settings = load(port=port)
        # What no node starts with: said here at once, not by nodes that end and are started again.
        check_settings(settings)
    except SettingsError as error:
        raise UsageError(str(error), "correct the environment or .env") from error
    given = settings.port if "port" in settings.model_fields_set else None
    options = stack.Options(DataDirectory(data_dir), settings, given, nodes, demo)
    try:
        stack.run(options, ready=_show, say=_say)
    except errors.InUse as error:
        raise InUse(error.message, error.fix) from error
    except DatabaseAway as error:
        raise PostgresAway(error.message, error.fix) from error
    except SchemaError as error:
        raise SchemaMismatch(str(error), error.fix) from error
    except (MigrationBlocked, MigrationForbidden) as error:
        raise Failed(str(error), error.fix) from error
    except stack.PartFailed as error:
        kind = {2: UsageError, 4: PostgresAway, 6: SchemaMismatch}.get(error.exit_code, Failed)
        raise kind(error.message, error.fix) from error
    except errors.StackError as error:
        raise Failed(error.message, error.fix) from error


def _say(line: str) -> None:
    # A terminal that went away must not take the stack with it.
    with contextlib.suppress(OSError):
        typer.echo(line, err=True)


def _die_with_make() -> None:
    """Under `make up`, make is the process that a user sees: when it is killed, stop in order."""
    import os
    import signal
    import sys

    from notifiws.stack.process import die_with_parent

    parent = os.getppid()
    with contextlib.suppress(OSError):
        name = Path(f"/proc/{parent}/comm").read_text(encoding="utf-8").strip() if sys.platform == "linux" else ""
        if name in ("make", "gmake"):
            die_with_parent(signal.SIGTERM, parent)


def _show(stack: "Stack") -> None:
    from notifiws.cli.facts import show
    from notifiws.version import version

    facts = [("dashboard", f"{stack.url}/")] if stack.around.dashboard else []
    facts += [("websocket", f"{stack.url.replace('http', 'ws', 1)}/ws")]
    facts += [(part.name, part.url) for part in stack.parts if part.url]
    facts += [("postgres", f"127.0.0.1:{stack.postgres.port}")] if stack.postgres else []
    facts += [("valkey", f"127.0.0.1:{stack.valkey.port}")] if stack.valkey else []
    show(
        facts,
        before=f"notifiws {version()}, data and logs in {stack.directory.path}",
        after="URLs with passwords: notifiws status. Ctrl-C stops everything, the data stays.",
    )
