"""The demo: a Spanish shop's inventory, created once, and a gentle generator of sales.

The tables are ordinary ones; what makes them live is in watch.sql (three watches) and summary.sql (a live query).
"""

import asyncio
import contextlib
import random
from pathlib import Path

import asyncpg

from shared.backoff import backoff

# Sales a second, on average.
RATE = 1.0
# With more low stocks than this a delivery becomes likely.
_LOW_ENOUGH = 8


class NotOurs(Exception):
    """There are tables of these names that the demo did not make: it leaves them alone."""


def _sql(name: str) -> str:
    return Path(__file__).with_name(f"{name}.sql").read_text(encoding="utf-8")


async def create(connection: "asyncpg.Connection[asyncpg.Record]") -> bool:
    """Create the inventory, all or nothing, unless tables of its names exist. Returns whether it did.

    One that a former release made is brought up to date, unless somebody holds its tables: then the next `up` does it.
    """
    if await connection.fetchval(_sql("former")):
        with contextlib.suppress(asyncpg.LockNotAvailableError):
            async with connection.transaction():
                for name in ("upgrade", "summary"):
                    await connection.execute(_sql(name))
    if await connection.fetchval(_sql("exists")):
        return False
    async with connection.transaction():
        for name in ("inventory", "summary", "watch"):
            await connection.execute(_sql(name))
    return True


async def sell(url: str) -> None:
    """Sell for ever, about once a second, through every outage of the database. Raises NotOurs."""
    failures = 0
    while True:
        try:
            connection = await asyncpg.connect(url, timeout=10, server_settings={"application_name": "notifiws demo"})
            try:
                if not await connection.fetchval(_sql("is_ours")):
                    raise NotOurs
                failures = 0
                await _sell(connection)
            finally:
                connection.terminate()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            failures += 1
            await asyncio.sleep(backoff(failures, first=0.25, most=5.0))


async def _sell(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    sale, delivery, low = (_sql(name) for name in ("sale", "delivery", "low"))
    while True:
        await asyncio.sleep(random.uniform(0.4, 1.6) / RATE)
        await connection.execute(sale, timeout=10)
        waiting = await connection.fetchval(low, timeout=10)
        if random.random() < waiting / (_LOW_ENOUGH * 10):
            await connection.execute(delivery, timeout=10)
