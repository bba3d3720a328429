"""The supervisor with small real children: deaths, freezes, stops. No server is needed."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from notifiws.stack import supervisor as module
from notifiws.stack import vitals
from notifiws.stack.process import alive, spawn
from notifiws.stack.supervisor import Part, Supervisor, describe, ended

SLEEPER = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
DEAF = [
    sys.executable,
    "-S",
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)",
]


def child(argv: list[str]) -> "subprocess.Popen[bytes]":
    return spawn(argv, death_signal=signal.SIGKILL)


class Watched:
    """A supervisor whose words and changes a test can wait for."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self._changed = asyncio.Event()
        self.supervisor = Supervisor(self.said.append, self._changed.set)
        self.at_once = asyncio.Event()

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    watched = Watched()
    yield watched
    watched.at_once.set()
    await watched.supervisor.stop(*watched.supervisor.parts, at_once=watched.at_once)


async def test_a_part_that_dies_is_started_again_and_said(watched: Watched) -> None:
    part = Part("sleeper", "node", lambda: child(SLEEPER))
    watched.supervisor.start(part)
    await watched.until(lambda: part.pid)
    first = part.pid
    assert first
    os.kill(first, signal.SIGKILL)
    await watched.until(lambda: part.pid not in (None, first))
    assert watched.said == ["sleeper was ended by SIGKILL; starting it again"]
    assert part.vitals.launches == 2
    assert part.last_exit == -signal.SIGKILL


async def test_what_cannot_even_start_is_tried_again(watched: Watched) -> None:
    attempts: list[int] = []

    def launch() -> "subprocess.Popen[bytes]":
        attempts.append(1)
        if len(attempts) < 3:
            raise FileNotFoundError("no such program")
        return child(SLEEPER)

    part = Part("late", "node", launch)
    watched.supervisor.start(part)
    await watched.until(lambda: part.pid)
    assert len(watched.said) == 2
    assert "did not start: no such program" in watched.said[0]


async def test_an_expected_failure_is_not_worth_a_word(watched: Watched) -> None:
    programs = iter([[sys.executable, "-S", "-c", "raise SystemExit(1)"], SLEEPER])
    part = Part("early", "postgres", lambda: child(next(programs)), expected_failure=lambda: True)
    watched.supervisor.start(part)
    await watched.until(lambda: part.vitals.launches == 2 and part.pid)
    assert watched.said == []


async def test_a_frozen_part_is_killed_and_started_again(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vitals, "SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.05)
    silent = asyncio.Event()

    async def answers(timeout: float) -> bool:
        return not silent.is_set()

    part = Part("frozen", "node", lambda: child(SLEEPER), alive=answers)
    watched.supervisor.start(part)
    await watched.until(lambda: part.pid)
    first = part.pid
    silent.set()
    await watched.until(lambda: part.pid not in (None, first))
    silent.clear()
    assert watched.said[0].startswith("frozen has not answered for")


async def test_stop_is_polite_first(watched: Watched) -> None:
    part = Part("sleeper", "node", lambda: child(SLEEPER))
    watched.supervisor.start(part)
    await watched.until(lambda: part.pid)
    await watched.supervisor.stop(part, at_once=watched.at_once)
    assert part.process
    assert part.process.returncode == -signal.SIGTERM
    assert watched.said == []


async def test_a_part_that_ignores_the_polite_signal_is_killed_in_time(watched: Watched) -> None:
    part = Part("deaf", "node", lambda: subprocess.Popen(DEAF, stdout=subprocess.PIPE), stop_seconds=0.1)
    watched.supervisor.start(part)
    await watched.until(lambda: part.pid)
    assert part.process
    assert part.process.stdout
    with part.process.stdout as words:
        await asyncio.to_thread(words.readline)
    await watched.supervisor.stop(part, at_once=watched.at_once)
    assert part.process.returncode == -signal.SIGKILL
    assert watched.said == ["deaf did not stop within 0.1 s; ended"]


async def test_in_a_hurry_nobody_is_waited_for(watched: Watched) -> None:
    part = Part("deaf", "node", lambda: subprocess.Popen(DEAF, stdout=subprocess.PIPE), stop_seconds=60)
    watched.supervisor.start(part)
    await watched.until(lambda: part.pid)
    assert part.process
    assert part.process.stdout
    with part.process.stdout as words:
        await asyncio.to_thread(words.readline)
    watched.at_once.set()
    async with asyncio.timeout(5):
        await watched.supervisor.stop(part, at_once=watched.at_once)
    assert not alive(part.process.pid)


async def test_our_own_faults_are_not_silent(watched: Watched) -> None:
    def launch() -> "subprocess.Popen[bytes]":
        raise RuntimeError("a bug")

    watched.supervisor.start(Part("bug", "node", launch))
    with pytest.raises(RuntimeError, match="a bug"):
        async with asyncio.timeout(5):
            await watched.supervisor.failed()


async def test_ended_reaps() -> None:
    process = child([sys.executable, "-S", "-c", "raise SystemExit(7)"])
    assert await ended(process) == 7
    assert await ended(process) == 7


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, "ended with exit code 0"), (6, "ended with exit code 6"), (-9, "was ended by SIGKILL"), (-99, "signal 99")],
)
def test_describe(code: int, words: str) -> None:
    assert words in describe(code)
