"""`notifiws status`: what runs in a data directory."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from notifiws.cli.errors import NotRunning
from notifiws.cli.up import DataDir


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(status)


def status(
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
    data_dir: DataDir = Path(".notifiws"),
) -> None:
    """Say what runs, where, and whether it is ready. Exit code 3 when nothing runs."""
    import asyncio

    from notifiws.stack.directory import DataDirectory
    from notifiws.stack.status import status as ask

    answer = asyncio.run(ask(DataDirectory(data_dir)))
    if as_json:
        typer.echo(json.dumps(answer or {"state": "stopped"}, ensure_ascii=False))
        if answer is None:
            raise typer.Exit(NotRunning.exit_code)
    elif answer is None:
        raise NotRunning(f"no stack runs in {DataDirectory(data_dir).path}", "notifiws up")
    else:
        _show(answer)


def _show(answer: dict[str, Any]) -> None:
    from notifiws.cli.facts import show

    lag = answer["lag_seconds"]
    facts = [("state", answer["state"] + (f", {lag:.1f} s behind" if lag else ""))]
    for name in ("url", "ws_url", "database_url", "redis_url", "data_dir", "epoch"):
        facts.append((name, str(answer[name] or "–")))
    services = [("listener", service) for service in answer["listeners"]]
    services += [(f"node {number}", service) for number, service in enumerate(answer["nodes"], 1)]
    for name, service in services:
        state = "ready" if service["ready"] else "; ".join(reason["message"] for reason in service["reasons"])
        facts.append((name, f"{service['url']}  pid {service['pid'] or '–'}  {state}"))
    facts += [(name, f"pid {answer[name]['pid'] or '–'}") for name in ("postgres", "valkey", "demo") if name in answer]
    show(facts)
