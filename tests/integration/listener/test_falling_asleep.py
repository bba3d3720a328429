"""No commit falls between the relay's last look and its sleep: a thousand at random moments, no fallback poll."""

import asyncio
import random
import time

import asyncpg

from notifiws.stack.valkey import ValkeyServer
from tests.conftest import Database
from tests.integration.listener.conftest import Ear, NewListener

NEVER = 3600.0
COMMITS = 1_000
WORST_SECONDS = 0.25


class Stalls:
    """How long this process, and so probably the machine, was kept from running: not the doorbell's fault."""

    def __init__(self) -> None:
        self.worst = 0.0

    async def watch(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.005)
            self.worst = max(self.worst, time.monotonic() - before - 0.005)


async def test_commits_around_falling_asleep_are_all_noticed_at_once(
    pg: asyncpg.Connection, database: Database, new_listener: NewListener, valkey: ValkeyServer
) -> None:
    """The relay tries to sleep a few ms after its last tick. Each round commits one to three transactions about then,
    some of which began long before, and the next round begins only when all were heard: so nobody else's ring, nor a
    later look, can help a commit that was missed. One that is missed waits for ever, and the test fails.
    """
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    subject = new_listener().start(fallback=NEVER)
    await subject.until(ready=True, role="leader")
    writers = [pg, *[await database.connect() for _ in range(2)]]
    waits: list[float] = []
    number = 0

    async def write(connection: asyncpg.Connection, key: int, before: float, held: float) -> float:
        """When its COMMIT was sent."""
        await asyncio.sleep(before)
        await connection.execute(f"begin; insert into ventas values ({key}, 0, '')")
        await asyncio.sleep(held)
        sent = time.monotonic()
        await connection.execute("commit")
        return sent

    async with Ear(valkey.url, "ventas") as ear, asyncio.TaskGroup() as tasks:
        stalls = Stalls()
        watching = tasks.create_task(stalls.watch())
        while number < COMMITS:
            await asyncio.sleep(chance.choice((0.0, chance.uniform(0.0, 0.004), chance.uniform(0.0, 0.015))))
            stalls.worst = 0.0
            round_of = chance.sample(writers, chance.choice((1, 1, 2, 3)))
            sent = await asyncio.gather(
                *(
                    write(
                        connection,
                        number + place,
                        chance.uniform(0.0, 0.004),
                        chance.choice((0.0, 0.0, chance.uniform(0.0, 0.006))),
                    )
                    for place, connection in enumerate(round_of, 1)
                )
            )
            number += len(round_of)
            # From the first COMMIT of the round to the last publication: more than any of them took.
            waits.append(await ear.until(number, seconds=10) - min(sent) - stalls.worst)
        watching.cancel()
    rings, asleep = await subject.metric("doorbell_rings_total"), sorted(waits)
    print(
        f"{number} commits in {len(waits)} rounds, {rings:g} rings; commit to heard: median "
        f"{asleep[len(asleep) // 2] * 1000:.1f} ms, worst {asleep[-1] * 1000:.1f} ms"
    )
    assert rings > COMMITS / 20, "they were not committed about then"
    assert max(waits) < WORST_SECONDS
    assert await subject.metric("polls_total", found="nothing") > 100
