"""`notifiws demo-sales`: the demo's generator, a hidden command that `up` runs as one of its parts."""

import typer

from notifiws.cli.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo-sales", hidden=True)(demo_sales)


def demo_sales() -> None:
    """Sell about once a second in the demo's shops, until stopped."""
    import asyncio
    import contextlib
    import signal

    from notifiws.stack import demo
    from shared.settings import SettingsError, load

    try:
        url = load().database_url
    except SettingsError as error:
        raise UsageError(str(error), "correct the environment or .env") from error
    if url is None:
        raise UsageError("DATABASE_URL is not set", "notifiws up --demo")

    async def until_stopped() -> None:
        selling = asyncio.create_task(demo.sell(url.get_secret_value()))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, selling.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await selling

    try:
        asyncio.run(until_stopped())
    except demo.NotOurs as error:
        raise UsageError(
            "this database has tables named like the demo's that are not the demo's", "notifiws up --no-demo"
        ) from error
