"""`notifiws verify`: hurt a stack while it works, and prove from the tables that nothing was lost."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from notifiws.cli.errors import Failed, NotRunning, PostgresAway, UsageError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(verify)


def verify(  # noqa: PLR0917  # typer reads them by name
    seconds: Annotated[float, typer.Option(help="how long writers write and faults happen", min=1)] = 60,
    faults: Annotated[
        str | None,
        typer.Option(
            help="all, none, or a list: kinds (kill, freeze, cut, half-open, one-way, slow, reset, flush, pubsub, "
            "restart, terminate, rolling), places (listener, node, valkey, postgres, node-redis), or both (kill:node) "
            "[default: all; none with --attach]"
        ),
    ] = None,
    scenario: Annotated[
        str | None,
        typer.Option(help="a named set of faults: crash, freeze, network, redis, postgres, takeover, nodes"),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="decides faults, clients and writers [default: a fresh one, which is printed]")
    ] = None,
    writers: Annotated[int, typer.Option(help="writers, besides a slow one and one of many rows", min=1, max=64)] = 4,
    clients: Annotated[int, typer.Option(help="clients that stay to the end, besides guests", min=2, max=500)] = 8,
    patience: Annotated[
        float, typer.Option(help="seconds after which an event that must come counts as lost", min=1)
    ] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="print the report's document")] = False,
    attach: Annotated[
        bool, typer.Option("--attach", help="use the stack that runs in --data-dir, not one of its own")
    ] = False,
    data_dir: Annotated[Path, typer.Option("--data-dir", help="with --attach: the stack's")] = Path(".notifiws"),
    report: Annotated[
        Path | None, typer.Option(help="write report.html and report.json there", metavar="DIR", file_okay=False)
    ] = None,
) -> None:
    """Start a stack, write, listen, and kill, freeze, cut and empty its parts; then check that nothing was lost.

    Exit code 0: no violation. 1: a violation, with its shortest evidence. Ctrl-C ends early and judges what was seen.
    """
    import secrets

    from rich.console import Console

    from notifiws.stack.directory import DataDirectory
    from notifiws.verify.app import Request
    from notifiws.verify.faults import SCENARIOS, UnknownFault, chosen
    from notifiws.verify.run import Options

    if faults is not None and scenario is not None:
        raise UsageError("--faults and --scenario exclude each other", "give one of them")
    if scenario is not None and scenario not in SCENARIOS:
        raise UsageError(f"--scenario: there is no {scenario!r}", f"one of {', '.join(SCENARIOS)}")
    wanted = SCENARIOS[scenario] if scenario else faults or ("none" if attach else "all")
    try:
        picked = chosen(wanted)
    except UnknownFault as error:
        raise UsageError(f"--faults: there is no {str(error)!r}", "notifiws verify --help lists them") from None
    if seed is None:
        seed = secrets.randbelow(1_000_000)
    errors = Console(stderr=True, highlight=False)
    words = ["notifiws verify", f"--seconds {seconds:g}", f"--faults {wanted}", f"--seed {seed}"]
    words += [f"--writers {writers}", f"--clients {clients}", *(["--attach"] if attach else [])]
    if errors.is_terminal:
        errors.print(f"seed {seed}; starting a stack" if not attach else f"seed {seed}", style="dim")
    request = Request(
        Options(seconds, picked, seed, writers, clients, patience),
        " ".join(words),
        DataDirectory(data_dir) if attach else None,
        report,
        errors,
        {"seconds": seconds, "writers": writers, "clients": clients, "attached": attach},
    )
    result = _run(request)
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False))
    else:
        from notifiws.verify.view import summary

        summary(result, Console(highlight=False, width=None if sys.stdout.isatty() else 140))
    if report is not None:
        errors.print(f"written: {report / 'report.html'}", soft_wrap=True)
    if sum(result["violations"].values()):
        raise Failed("a violation was found", f"repeat it: {result['command']}")
    if result["troubles"]:
        raise Failed(f"no violation, but the run did not end well: {result['troubles'][0]}", "look at the stack's logs")


def _run(request: Any) -> dict[str, Any]:
    from notifiws.stack.errors import StackError
    from notifiws.verify.app import Stopped, verify
    from notifiws.verify.workload import FAILURES

    try:
        return verify(request)
    except Stopped:
        sys.stderr.write("verify: stopped; nothing was judged, and nothing was left running\n")
        raise typer.Exit(0) from None
    except StackError as error:
        if request.attach is not None and request.attach.running() is None:
            raise NotRunning(error.message, error.fix) from error
        raise Failed(error.message, error.fix) from error
    except FAILURES as error:
        raise PostgresAway(f"the stack's Postgres does not answer: {error}") from error
