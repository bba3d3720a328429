"""The command line's root: registers the command groups, prints every error with its mend, ends with its exit code.

Each file of this package that exports `register(app)` is a group. They import what they need when they run, so that
`notifiws --help` answers at once.
"""

import importlib
import sys
from typing import Annotated

import typer

from notifiws.cli.errors import CliError

_INTERRUPTED = 130
# In the order of --help.
_GROUPS = (
    "up", "status", "down", "migrate", "watch", "adopt", "listener", "ws", "tail", "emit", "healthcheck",
    "doctor", "verify", "demo", "unbuilt",
)  # fmt: skip


def build() -> typer.Typer:
    """The command line with all its commands."""
    app = typer.Typer(
        name="notifiws",
        help="What a Postgres transaction commits, every entitled browser sees within milliseconds.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for group in _GROUPS:
        importlib.import_module(f"notifiws.cli.{group}").register(app)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        from notifiws.version import version

        typer.echo(version())
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", help="print the version and exit", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """What stands before any command."""


def main() -> None:
    """The entry point `notifiws`. Exit codes are the contract's."""
    try:
        build()(prog_name="notifiws")
    except CliError as error:
        sys.stderr.write(f"error: {error.message}\n")
        if error.fix:
            sys.stderr.write(f"fix: {error.fix}\n")
        sys.exit(error.exit_code)
    except SystemExit as end:
        # The framework's word for Ctrl-C; in the contract a stop by signal is 0.
        sys.exit(0 if end.code == _INTERRUPTED else end.code)
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
