"""`notifiws listener`: the relay as a service of its own."""

import typer

from notifiws.cli.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(listener)


def listener() -> None:
    """Run the listener in the foreground: one leads, further ones stand by. Settings come from the environment."""
    from listener_service.app import run
    from shared.settings import SettingsError, load

    try:
        code = run(load())
    except SettingsError as error:
        raise UsageError(str(error), "correct the environment or .env; docs/settings.md lists all") from error
    raise typer.Exit(code)
