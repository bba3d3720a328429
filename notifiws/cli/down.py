"""`notifiws down`: stop the stack of a data directory, from anywhere."""

from pathlib import Path

import typer

from notifiws.cli.errors import Failed, NotRunning
from notifiws.cli.up import DataDir

# `up` drains its nodes, then stops the servers; Postgres may have much to write out.
_PATIENCE = 60.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(down)


def down(data_dir: DataDir = Path(".notifiws")) -> None:
    """Stop the running stack and wait until it has stopped. Its data stays."""
    import os
    import signal
    import time

    from notifiws.stack.directory import DataDirectory

    directory = DataDirectory(data_dir)
    deadline = time.monotonic() + _PATIENCE
    told = False
    while directory.held():
        state = directory.read()
        if state and not told:
            os.kill(state["pid"], signal.SIGTERM)
            told = True
        if time.monotonic() > deadline:
            raise Failed(
                f"the stack in {directory.path} did not stop within {_PATIENCE:g} s",
                f"kill -9 {state['pid']}" if state else None,
            )
        time.sleep(0.05)
    if not told:
        raise NotRunning(f"no stack runs in {directory.path}", "notifiws up")
