"""`notifiws verify`: the composition root. A stack, a run, the verdict, the report; leaves nothing behind."""

import asyncio
import contextlib
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from notifiws.stack.directory import DataDirectory
from notifiws.verify import page, report, rig, view
from notifiws.verify.checker import check
from notifiws.verify.run import Options, Run, versions
from notifiws.verify.spool import Spool


class Stopped(Exception):
    """A signal came before there was anything to judge, or a second one."""


@dataclass(frozen=True)
class Request:
    """What the command line asked for. `attach`: the stack to use instead of one of our own."""

    options: Options
    command: str
    attach: DataDirectory | None = None
    report: Path | None = None
    console: Any = None  # rich's, for the live view
    settings: dict[str, Any] = field(default_factory=dict)


def verify(request: Request) -> dict[str, Any]:
    """Run once; returns the report's document. Raises StackError, workload.FAILURES, Stopped."""
    folder = Path(tempfile.mkdtemp(prefix="notifiws-verify-"))
    try:
        # When we are root the servers run as another user, who has to pass.
        folder.chmod(0o711)
        spool = Spool(folder / "history")
        with contextlib.closing(spool):
            run, servers = uvloop.run(_record(request, spool, folder / "stack"))
        # The stack is gone: the checker has the machine for itself.
        result = _judged(request, spool, run, servers)
        if request.report is not None:
            report.write(result, request.report, page.html(result))
            if not result["clean"] and request.attach is None:
                shutil.copytree(folder / "stack" / "log", request.report / "log", dirs_exist_ok=True)
        return result
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _record(request: Request, spool: Spool, folder: Path) -> tuple[Run, dict[str, str]]:
    running: list[Run] = []
    with _signals(running):
        async with _stack(request, folder) as stack:
            servers = await versions(stack)
            run = Run(stack, spool, request.options)
            running.append(run)
            async with view.live(run.progress, request.console):
                await run.record()
                if request.attach is not None:
                    await run.clean_up()
    return run, servers


def _judged(request: Request, spool: Spool, run: Run, servers: dict[str, str]) -> dict[str, Any]:
    nemesis = run.progress.nemesis
    return report.document(
        check(spool),
        command=request.command,
        seed=request.options.seed,
        seconds=spool.seconds,
        settings=request.settings,
        faults=request.options.faults,
        servers=servers,
        troubles=run.troubles,
        skipped=nemesis.skipped if nemesis else 0,
    )


@asynccontextmanager
async def _stack(request: Request, folder: Path) -> AsyncIterator[rig.Rig]:
    async with rig.attached(request.attach) if request.attach else rig.own(folder) as stack:
        yield stack


@contextlib.contextmanager
def _signals(running: list[Run]) -> Any:
    """The first signal ends the run early, the next one everything."""
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()
    assert main is not None
    told: list[int] = []

    def take(number: int) -> None:
        told.append(number)
        if running and len(told) == 1:
            running[0].stop()
        else:
            main.cancel()

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, take, number)
    try:
        yield
    except asyncio.CancelledError:
        if not told:
            raise
        # We have cancelled ourselves.
        main.uncancel()
        raise Stopped from None
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
