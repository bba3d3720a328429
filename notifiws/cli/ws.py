"""`notifiws ws`: one WebSocket node as a service of its own."""

from typing import Annotated

import typer

from notifiws.cli.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(ws)


def ws(
    host: Annotated[str | None, typer.Option(help="address to listen on [env: NOTIFIWS_HOST]")] = None,
    port: Annotated[
        int | None, typer.Option(help="port [env: NOTIFIWS_PORT]; 0: any free one", min=0, max=65535)
    ] = None,
) -> None:
    """Run one WebSocket node in the foreground; run as many as you like. Settings come from the environment."""
    from shared.settings import SettingsError, load
    from ws_service.app import run

    try:
        code = run(load(host=host, port=port))
    except SettingsError as error:
        raise UsageError(str(error), "correct the environment or .env; docs/settings.md lists all") from error
    raise typer.Exit(code)
