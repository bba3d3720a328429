"""`python -m bench [scenario…]`: runs scenarios, prints tables, writes `bench/results/<scenario>.json`.

Exit codes: 0 done · 1 could not be run, or something that must never be was seen · 2 usage.
"""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench import machine, results, rounds, table
from bench.scenario import BenchError, Options, Scenario, discover


def arguments(argv: Sequence[str], known: Sequence[str]) -> argparse.Namespace:
    """Parse the command line. Ends the process with 2 when it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="The benchmark suite.")
    parser.add_argument("scenario", nargs="*", metavar="scenario", help=f"which (default: all): {', '.join(known)}")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each contender (default 5; 1 with --quick)")
    parser.add_argument("--quick", action="store_true", help="a smoke run of seconds; writes no result without --out")
    parser.add_argument("--json", action="store_true", help="print the result documents in place of tables")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where results are written (default bench/results)")
    given = parser.parse_args(argv)
    for name in given.scenario:
        if name not in known:
            parser.error(f"no scenario {name!r}; there are: {', '.join(known)}")
    if given.rounds is None:
        given.rounds = 1 if given.quick else 5
    if given.rounds < 1:
        parser.error("--rounds: at least 1")
    return given


async def _bench(scenarios: Sequence[Scenario], given: argparse.Namespace, command: str) -> int:
    # SIGTERM is taken like Ctrl-C: everything that was started is stopped on the way out.
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    said = Console(stderr=True, highlight=False)
    # Into a file or a pipe, rich would squeeze the tables into 80 columns.
    shown = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    violated = False
    documents = []
    for scenario in scenarios:
        on = machine.machine()
        options = Options(given.rounds, given.quick)
        with said.status("") as status:
            outcome = await rounds.run(scenario, options, lambda text, status=status: status.update(text))  # type: ignore[misc]
        result = results.document(outcome, command, on)
        documents.append(result)
        violated |= bool(result["violations"])
        if not given.json:
            table.show(scenario, result, shown)
        if given.out or not given.quick:
            path = results.write(result, given.out or results.FOLDER)
            said.print(f"written: {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
    if given.json:
        print(json.dumps(documents, ensure_ascii=False))
    return 1 if violated else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    known = discover()
    words = list(sys.argv[1:] if argv is None else argv)
    given = arguments(words, list(known))
    command = " ".join(["python -m bench", *words])
    try:
        return asyncio.run(_bench([known[name] for name in given.scenario or known], given, command))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("bench: stopped; nothing was left running", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
