"""A load process: a module of `bench` in a process of its own, spoken to in lines of JSON.

It reads its settings as the first line of stdin and reports states on stdout: `{"state": "ready"}`. It dies with us,
however we die.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any, Self

from bench.scenario import BenchError
from notifiws.stack.process import die_with_parent

_LINE_BYTES = 1 << 20


class Child:
    """One such process."""

    def __init__(self, module: str, process: asyncio.subprocess.Process) -> None:
        self.module = module
        self._process = process

    @classmethod
    async def start(cls, module: str, settings: Mapping[str, Any], *arguments: str) -> Self:
        """Start `python -m <module> <arguments>` and tell it its settings."""
        parent = os.getpid()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_BYTES,
            process_group=0,  # a Ctrl-C is ours to hear
            preexec_fn=lambda: die_with_parent(signal.SIGKILL, parent),
        )
        child = cls(module, process)
        await child.say(settings)
        return child

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    async def say(self, words: Mapping[str, Any]) -> None:
        """Send one line."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words).encode() + b"\n")
        await self._process.stdin.drain()

    async def hear(self, state: str, seconds: float) -> dict[str, Any]:
        """Wait for its report of `state`. Raises BenchError when it ends first, or says nothing for `seconds`."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(seconds):
                while line := await self._process.stdout.readline():
                    words: dict[str, Any] = json.loads(line)
                    if words["state"] == state:
                        return words
        except TimeoutError:
            raise BenchError(f"{self.module}: not {state!r} within {seconds:g} s") from None
        raise BenchError(f"{self.module}: ended with {await self._process.wait()} before it was {state!r}")

    async def stop(self) -> None:
        """End it, if it still runs."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
