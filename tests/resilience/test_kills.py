"""Parts of a running stack are killed with SIGKILL while writers write: `up` brings them back, clients end exact."""

import asyncio
import os
import re
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.client import Client
from tests.stack import Stack
from tests.workload import DDL, Ledger, write

pytestmark = pytest.mark.slow

# What `up` calls them: it counts nodes as people do.
SAID = {"listener": "listener", "node 1": "node 2", "valkey": "valkey"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of its own: its parts die here."""
    with Stack(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


def pid_of(stack: Stack, part: str) -> int:
    """The pid of a part: `listener`, `node 0`, `node 1` from the status; `valkey` from the directory of its data."""
    status = stack.status
    if part == "listener":
        return int(status["listener"]["pid"])
    if part.startswith("node"):
        return int(status["nodes"][int(part[-1])]["pid"])
    import psutil

    assert stack.process is not None
    children = psutil.Process(stack.process.pid).children(recursive=True)
    return next(child.pid for child in children if child.name().startswith("valkey"))


@pytest.mark.parametrize("part", ["listener", "node 1", "valkey"])
async def test_a_part_killed_twice_while_writing_loses_and_repeats_nothing(stack: Stack, part: str) -> None:
    table = part.replace(" ", "_")
    pg = await stack.pg()
    await pg.execute(DDL.format(table=table, channel=table))
    await pg.close()
    ledger = Ledger()
    nodes = [stack.ws_url(0), stack.ws_url(1)]

    async def writer(number: int, done: asyncio.Event) -> None:
        connection = await stack.pg()
        first = 1 + number * 1_000_000
        while not done.is_set():
            await write(connection, table, ledger, first, 20, seed=first)
            first += 20
        await connection.close()

    async with AsyncExitStack() as clients:
        everyone = [await clients.enter_async_context(Client(nodes[n % 2], table)) for n in range(12)]
        done = asyncio.Event()
        writing = asyncio.gather(*(writer(number, done) for number in range(4)))
        for _ in range(2):
            already = len(everyone[0].events)
            await everyone[0].received(already + 100)
            killed = await asyncio.to_thread(pid_of, stack, part)
            os.kill(killed, signal.SIGKILL)
            await restarted(stack, part, killed)
        # The operator reads of each death where `up` runs.
        said = re.findall(rf"^{SAID[part]} .*starting it again", stack.log.read_text(), re.MULTILINE)
        assert len(said) == 2, stack.log.read_text()
        done.set()
        await writing
        for number, client in enumerate(everyone):
            await client.received(ledger.count)
            ledger.check(client, f"{part} killed: client {number}")


async def restarted(stack: Stack, part: str, killed: int) -> None:
    """Wait until the status shows a ready stack in which `part` has another pid."""
    async with asyncio.timeout(40):
        while True:
            status = await asyncio.to_thread(lambda: stack.status)
            if status["state"] == "ready" and await asyncio.to_thread(pid_or_none, stack, part) not in (None, killed):
                return
            await asyncio.sleep(0.1)


def pid_or_none(stack: Stack, part: str) -> int | None:
    try:
        return pid_of(stack, part)
    except (StopIteration, TypeError, IndexError):
        return None


async def test_a_million_rows_in_one_transaction_leave_the_listeners_memory_flat(stack: Stack) -> None:
    import psutil

    rows, limit = 1_000_000, 64_000_000
    pg: Any = await stack.pg()
    await pg.execute("create table masa (id int primary key, v text); select notifiws.watch('masa', 'masa')")
    listener = psutil.Process(await asyncio.to_thread(pid_of, stack, "listener"))
    async with Client(stack.ws_url(0), "masa") as client:
        await pg.execute("insert into masa values (0, 'the first one, for what is only made once')")
        await client.received(1)
        before = most = listener.memory_info().rss
        await pg.execute("insert into masa select g, 'fila ' || g from generate_series(1, $1::int) g", rows)
        async with asyncio.timeout(150):
            while len(client.events) <= rows:
                most = max(most, listener.memory_info().rss)
                await asyncio.sleep(0.02)
        wrong = [at for at, event in enumerate(client.events) if event["new"]["id"] != at]
        assert not wrong, f"{len(wrong)} of {len(client.events)} events out of place, the first at {wrong[0]}"
        assert not client.faults
        assert not client.resets
    await pg.close()
    assert most - before < limit, f"{(most - before) / 1e6:.0f} MB more than before"
