"""Commands of the contract that this release has not built: they say so, whatever they are given."""

from collections.abc import Callable

import typer

from notifiws.cli.errors import Failed

COMMANDS = ("token", "gen", "top", "bench")


def register(app: typer.Typer) -> None:
    """Add the refusals. They are left out of --help."""
    for name in COMMANDS:
        anything = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
        app.command(name, hidden=True, context_settings=anything)(_refusal(name))


def _refusal(name: str) -> Callable[[], None]:
    def refuse() -> None:
        raise Failed(f"unsupported: {name} is not built yet", "CHANGELOG.md says what is", code="unsupported")

    return refuse
