"""One flow of rows from a writer to clients, measured: load processes are started, warmed up, run and read.

What latency means here: `before_insert` counts from just before the INSERT is sent (nothing is left out),
`after_commit` from when its commit returned to the writer (below zero where a client was faster than that), and
`since_due`, under a rate, from when the row should have been sent: a path that slows its writers down is not the
better for it.
"""

import asyncio
from array import array
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any

import asyncpg
import psutil

from bench.child import Child
from bench.figures import Figures, distribution
from bench.load.process import load
from bench.scenario import BenchError
from bench.stack import Address

_START_SECONDS = 30.0
_WARM_PAUSE = 0.05
_WARM_SECONDS = 20.0
_QUIET_SECONDS = 5.0  # nothing came for so long: what is missing is lost
_SLACK_SECONDS = 90.0  # a peer that cannot keep up may drain for so long after the last row


@dataclass(frozen=True, slots=True)
class Clients:
    """Some clients of one node, in one process."""

    address: Address
    count: int
    path: str
    channel: str
    v1: bool


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows are written, and (for ours) where their publications are heard."""

    database_url: str
    insert: str
    redis_url: str
    redis_channel: str | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """Of the writer: a pause between rows, or a rate. `seconds` is how long it will take, about."""

    rows: int
    pause: tuple[float, float] | None = None
    rate: float | None = None
    connections: int = 1

    @property
    def seconds(self) -> float:
        """How long the writer will take if nothing holds it up."""
        return self.rows / self.rate if self.rate else self.rows * (self.pause[1] + 0.02 if self.pause else 0.02)


@dataclass(slots=True)
class Flow:
    """A source, its clients, and the processes whose CPU is of interest. Row numbers go on from run to run."""

    source: Source
    folder: Path
    text: str
    cpu_of: dict[str, Sequence[int]] = field(default_factory=dict)
    numbers: "count[int]" = field(default_factory=lambda: count(1))

    async def run(self, clients: Sequence[Clients], pace: Pace, prefix: str) -> Figures:
        """Run once; figures are named `<prefix>.…`. Raises BenchError when it does not come about."""
        async with AsyncExitStack() as stack:
            return await self._run(stack, clients, pace, prefix)

    async def _run(self, stack: AsyncExitStack, clients: Sequence[Clients], pace: Pace, prefix: str) -> Figures:
        # Warm-up rows have numbers below the first one that counts.
        warm_first = next(self.numbers)
        first = warm_first + int(_WARM_SECONDS / _WARM_PAUSE) + 1
        self.numbers = count(first + pace.rows)
        rows: dict[str, Any] = {"first": first, "rows": pace.rows}

        async def start(module: str, **settings: Any) -> Child:
            child = await Child.start(f"bench.load.{module}", rows | settings)
            stack.push_async_callback(child.stop)
            return child

        tap = None
        if self.source.redis_channel is not None:
            tap = await start(
                "tap",
                redis_url=self.source.redis_url,
                redis_channel=self.source.redis_channel,
                file=self._file("tap"),
            )
        subscribers = [
            await start(
                "subscriber",
                host=each.address.host,
                port=each.address.port,
                path=each.path,
                channel=each.channel,
                v1=each.v1,
                clients=each.count,
                file=self._file(f"clients{number}"),
            )
            for number, each in enumerate(clients)
        ]
        writer = await start(
            "writer",
            database_url=self.source.database_url,
            statement=self.source.insert,
            text=self.text,
            file=self._file("writer"),
            **({"pause": pace.pause} if pace.pause else {"rate": pace.rate, "connections": pace.connections}),
        )
        await asyncio.gather(*(each.hear("open", _START_SECONDS) for each in subscribers))
        await asyncio.gather(*(each.hear("ready", _START_SECONDS) for each in (writer, *([tap] if tap else []))))
        await self._warm(subscribers, warm_first)

        cpu, began = self._cpu(), monotonic()
        finish = {"quiet": _QUIET_SECONDS, "limit": pace.seconds * 3 + _SLACK_SECONDS}
        await writer.say({})
        wrote = await writer.hear("done", pace.seconds * 3 + _SLACK_SECONDS)
        for each in subscribers:
            await each.say(finish)
        got = await asyncio.gather(*(each.hear("done", finish["limit"] + 30) for each in subscribers))
        wall = monotonic() - began
        figures = {f"{prefix}.cpu.{name}": taken / wall * 100 for name, taken in _since(cpu, self._cpu()).items()}
        if tap:
            await tap.say({})
            tapped = await tap.hear("done", _START_SECONDS)
            figures[f"{prefix}.publications"] = float(tapped["publications"])
        figures |= self._delivered(prefix, clients, pace, got)
        figures[f"{prefix}.cpu.client"] = max(each["cpu_seconds"] / each["wall_seconds"] * 100 for each in got)
        figures[f"{prefix}.cpu.writer"] = wrote["cpu_seconds"] / wrote["wall_seconds"] * 100
        figures[f"{prefix}.writer.late_ms"] = wrote["late_seconds"] * 1e3
        figures[f"{prefix}.rows_per_second"] = pace.rows / wrote["wall_seconds"]
        return figures | self._latencies(prefix, clients, tapped=tap is not None)

    async def _warm(self, subscribers: Sequence[Child], number: int) -> None:
        """Write a row now and then until every client has seen one: the whole path is open, and caches are warm."""
        connection = await asyncpg.connect(self.source.database_url)
        waiting = asyncio.gather(*(each.hear("warm", _WARM_SECONDS) for each in subscribers))
        try:
            while not waiting.done():
                await connection.execute(self.source.insert, number, self.text)
                number += 1
                await asyncio.wait([waiting], timeout=_WARM_PAUSE)
            waiting.result()
        finally:
            waiting.cancel()
            await connection.close()
        # The last warm-up rows are still on their way, and everybody is to be asleep again.
        await asyncio.sleep(0.5)

    def _delivered(self, prefix: str, clients: Sequence[Clients], pace: Pace, got: Sequence[dict[str, Any]]) -> Figures:
        figures = {
            f"{prefix}.{name}": float(sum(each[name] for each in got))
            for name in ("lost", "duplicated", "foreign", "gaps", "dropped")
        }
        figures[f"{prefix}.expected"] = float(pace.rows * sum(each.count for each in clients))
        return figures

    def _latencies(self, prefix: str, clients: Sequence[Clients], *, tapped: bool) -> Figures:
        dues, before, after = load(self._file("writer"), 3)
        arrivals = [
            column for number, each in enumerate(clients) for column in load(self._file(f"clients{number}"), each.count)
        ]
        if any(len(column) != len(before) for column in arrivals):
            raise BenchError("the clients' files do not fit the writer's")
        figures = distribution(_spans(before, arrivals), f"{prefix}.before_insert")
        figures |= distribution(_spans(after, arrivals), f"{prefix}.after_commit")
        figures |= distribution(_spans(dues, arrivals), f"{prefix}.since_due")
        figures |= distribution(_spans(before, [after]), f"{prefix}.hop.insert_to_commit")
        if tapped:
            written, cut, heard = load(self._file("tap"), 3)
            figures |= distribution(_spans(before, [written]), f"{prefix}.hop.insert_to_trigger")
            figures |= distribution(_spans(written, [after]), f"{prefix}.hop.trigger_to_commit")
            figures |= distribution(_spans(after, [cut]), f"{prefix}.hop.commit_to_tick")
            figures |= distribution(_spans(cut, [heard]), f"{prefix}.hop.tick_to_redis")
            figures |= distribution(_spans(heard, arrivals), f"{prefix}.hop.redis_to_client")
        return figures

    def _cpu(self) -> dict[str, float]:
        """Processor seconds so far, by name; of several processes the busiest counts later, so each is kept."""
        taken = {}
        for name, pids in self.cpu_of.items():
            for pid in pids:
                try:
                    times = psutil.Process(pid).cpu_times()
                except psutil.NoSuchProcess:
                    raise BenchError(f"{name} (process {pid}) is gone") from None
                taken[f"{name}#{pid}"] = times.user + times.system
        return taken

    def _file(self, name: str) -> str:
        return str(self.folder / f"{name}.samples")


def _spans(starts: "array[float]", ends: Sequence["array[float]"]) -> list[float]:
    """Seconds from each row's start to each of its ends, where both are known."""
    return [end - start for column in ends for start, end in zip(starts, column, strict=True) if start and end]


def _since(earlier: dict[str, float], later: dict[str, float]) -> dict[str, float]:
    """Processor seconds taken in between; of several processes of one name, the busiest one's."""
    taken: dict[str, float] = {}
    for key, seconds in later.items():
        name = key.partition("#")[0]
        taken[name] = max(taken.get(name, 0.0), seconds - earlier[key])
    return taken
