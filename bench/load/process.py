"""What load processes share: settings from stdin, states to stdout, samples to files, the CPU they took."""

import asyncio
import json
import resource
import sys
from array import array
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import uvloop

Settings = dict[str, Any]


def run(main: Callable[[Settings, asyncio.StreamReader], Coroutine[Any, Any, None]]) -> None:
    """Run `main(settings, orders)` on uvloop: `orders` are the lines that follow the settings on stdin."""

    async def start() -> None:
        loop = asyncio.get_running_loop()
        orders = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
        await main(json.loads(await orders.readline()), orders)

    uvloop.run(start())


def report(state: str, **words: Any) -> None:
    """Say a state to the parent."""
    print(json.dumps({"state": state, **words}), flush=True)


async def order(orders: asyncio.StreamReader) -> dict[str, Any]:
    """The parent's next line. A parent that is gone ends this process."""
    line = await orders.readline()
    if not line:
        raise SystemExit(1)
    words: dict[str, Any] = json.loads(line)
    return words


def cpu_seconds() -> float:
    """Processor time that this process took so far, in user and kernel."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def store(path: str, *columns: "array[float]") -> None:
    """Write columns of equal length, one after the other."""
    with Path(path).open("wb") as file:
        for column in columns:
            column.tofile(file)


def load(path: str, columns: int) -> "list[array[float]]":
    """Read columns that `store` wrote."""
    values = array("d")
    values.frombytes(Path(path).read_bytes())
    length = len(values) // columns
    return [values[start : start + length] for start in range(0, length * columns, length or 1)][:columns]
