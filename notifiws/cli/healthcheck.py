"""`notifiws healthcheck`: one question for a container engine to ask."""

from typing import Annotated

import typer

from notifiws.cli.errors import Failed, UsageError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(healthcheck)


def healthcheck(
    listener: Annotated[bool, typer.Option("--listener", help="ask on NOTIFIWS_LISTENER_PORT")] = False,
) -> None:
    """Ask /readyz of the node (or listener) on this machine. Exit code 0 when it is ready, 1 when not."""
    import asyncio

    from notifiws.stack.probe import readyz
    from shared.settings import SettingsError, load

    try:
        settings = load()
    except SettingsError as error:
        raise UsageError(str(error), "correct the environment or .env") from error
    port = settings.listener_port if listener else settings.port
    answer = asyncio.run(readyz(settings.local_url(port), 3.0))
    if not answer.ready:
        reasons = "; ".join(f"{reason['code']}: {reason['message']}" for reason in answer.reasons)
        part, setting = ("listener", "NOTIFIWS_LISTENER_PORT") if listener else ("ws", "NOTIFIWS_PORT")
        raise Failed(
            f"not ready: {reasons or 'no reason given'}",
            f"`notifiws {part}` has to run here with the same NOTIFIWS_HOST and {setting}; "
            "its log says what it waits for",
        )
