"""Keeps parts running: starts, watches, starts again with backoff, stops in order. What a part is, `parts` says."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from notifiws.stack.vitals import Vitals

PROBE_SECONDS = 2.0
PROBE_TIMEOUT = 3.0


@dataclass
class Part:
    """One supervised child. `launch` starts it; `alive` asks it (None: only its death counts)."""

    name: str
    kind: str
    launch: Callable[[], subprocess.Popen[bytes]]
    alive: Callable[[float], Awaitable[bool]] | None = None
    url: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0
    # A death that is only an attempt made too early: not worth a word.
    expected_failure: Callable[[], bool] = lambda: False
    vitals: Vitals = field(default_factory=Vitals)
    process: subprocess.Popen[bytes] | None = None
    # The exit status of its last run (negative: a signal), None before the first end.
    last_exit: int | None = None

    @property
    def pid(self) -> int | None:
        """Its pid while it runs."""
        return self.process.pid if self.process and self.process.returncode is None else None


class Supervisor:
    """Runs parts until `stop`. `say` hears every death and restart; `changed` hears every new pid."""

    def __init__(self, say: Callable[[str], None], changed: Callable[[], None]) -> None:
        self._say = say
        self._changed = changed
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self.parts: list[Part] = []

    def start(self, *parts: Part) -> None:
        """Start parts and keep them running."""
        for part in parts:
            if part not in self.parts:
                self.parts.append(part)
            self._keepers[part.name] = asyncio.create_task(self._keep(part), name=f"keep {part.name}")

    async def failed(self) -> None:
        """Wait for ever, raising what made a keeper fail: our own fault, never a part's."""
        while True:
            for keeper in list(self._keepers.values()):
                if keeper.done() and not keeper.cancelled():
                    keeper.result()
            await asyncio.sleep(0.5)

    async def stop(self, *parts: Part, at_once: asyncio.Event) -> None:
        """Stop these parts together, politely first; when `at_once` is set, with SIGKILL."""
        await asyncio.gather(*(self._stop(part, at_once) for part in parts))

    async def _keep(self, part: Part) -> None:
        while True:
            part.vitals.launched(time.monotonic())
            try:
                part.process = part.launch()
            except OSError as error:
                how = f"did not start: {error}"
            else:
                self._changed()
                async with watching(part, self._say):
                    code = await ended(part.process)
                part.last_exit = code
                how = describe(code)
            self._changed()
            delay = part.vitals.died(time.monotonic())
            if not part.expected_failure():
                self._say(f"{part.name} {how}; starting it again" + (f" in {delay:.1f} s" if delay >= 1 else ""))
            await asyncio.sleep(delay)

    async def _stop(self, part: Part, at_once: asyncio.Event) -> None:
        keeper = self._keepers.pop(part.name, None)
        if keeper:
            keeper.cancel()
            # Its own fault, if it has one, is told by `failed`; here the process has to end all the same.
            await asyncio.gather(keeper, return_exceptions=True)
        process = part.process
        if process is None or process.poll() is not None:
            return
        process.send_signal(part.stop_signal)
        exit_ = asyncio.create_task(ended(process))
        hurry = asyncio.create_task(at_once.wait())
        try:
            await asyncio.wait({exit_, hurry}, timeout=part.stop_seconds, return_when=asyncio.FIRST_COMPLETED)
            if not exit_.done():
                if not at_once.is_set():
                    self._say(f"{part.name} did not stop within {part.stop_seconds:g} s; ended")
                process.kill()
            await exit_
        finally:
            hurry.cancel()
        self._changed()


@contextlib.asynccontextmanager
async def watching(part: Part, say: Callable[[str], None]) -> AsyncIterator[None]:
    """Meanwhile probe the part, and kill it when it is frozen."""
    task = asyncio.create_task(_watch(part, say)) if part.alive else None
    try:
        yield
    finally:
        if task:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _watch(part: Part, say: Callable[[str], None]) -> None:
    assert part.alive and part.process
    while True:
        asked_at = time.monotonic()
        if await part.alive(PROBE_TIMEOUT):
            part.vitals.answered()
        elif part.vitals.unanswered(asked_at, time.monotonic()):
            say(f"{part.name} has not answered for {time.monotonic() - (part.vitals.silent_since or 0):.0f} s")
            part.process.kill()
            return
        await asyncio.sleep(max(0.0, PROBE_SECONDS - (time.monotonic() - asked_at)))


async def ended(process: subprocess.Popen[bytes]) -> int:
    """Wait for a child's end and reap it. Returns its exit status, negative for a signal."""
    if process.poll() is None and hasattr(os, "pidfd_open"):
        handle = os.pidfd_open(process.pid)
        loop = asyncio.get_running_loop()
        done = asyncio.Event()
        loop.add_reader(handle, done.set)
        try:
            await done.wait()
        finally:
            loop.remove_reader(handle)
            os.close(handle)
    # Where pidfds are missing the kernel has no event for this.
    while (code := process.poll()) is None:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    return code


def describe(code: int) -> str:
    """`ended with exit code 1`, `was ended by SIGKILL`."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def by_kind(parts: Sequence[Part], *kinds: str) -> list[Part]:
    """Those of these kinds."""
    return [part for part in parts if part.kind in kinds]
