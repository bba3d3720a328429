"""Large rows and large transactions: exact, and in bounded memory."""

import asyncio
import signal

import asyncpg
import pytest

from notifiws.stack.valkey import ValkeyServer
from tests.integration.listener.conftest import Ear, ListenerProcess, NewListener, Streams, eventually


async def test_rows_of_5_mb(
    pg: asyncpg.Connection, listener: ListenerProcess, streams: Streams, valkey: ValkeyServer
) -> None:
    async with Ear(valkey.url, "ventas") as ear:
        await pg.execute(
            "insert into ventas select g, 0, case g when 2 then 'small' else repeat(g::text, 5000000) end"
            " from generate_series(1, 4) g"
        )
        await ear.until(4)
        rows = [bytes(event.payload or b"") for _, publication in ear.heard for event in publication.events()]
    assert [len(row) > 5_000_000 for row in rows] == [True, False, True, True]
    assert rows[3].count(b"4") >= 5_000_000
    await streams.until_exact(pg, "ventas")


async def test_the_history_stays_within_its_bounds(
    pg: asyncpg.Connection, new_listener: NewListener, streams: Streams, valkey: ValkeyServer
) -> None:
    subject = new_listener(NOTIFIWS_HISTORY_BYTES="100000").start()
    await subject.until(ready=True)
    async with Ear(valkey.url, "ventas") as ear:
        for number in range(60):
            await pg.execute("insert into ventas values ($1, 0, repeat('x', 5000))", number)
            await ear.until(number + 1)
        sizes = [len(publication.data) for publication in await streams.publications("ventas")]
        assert 60_000 < sum(sizes) <= 100_000
        # The newest entry always stays, however large.
        await pg.execute("insert into ventas values (1000, 0, repeat('x', 300000))")
        await ear.until(61)
        [last] = await streams.publications("ventas")
        assert last.position == ear.heard[-1][1].position


@pytest.mark.slow
async def test_a_million_rows_in_one_transaction(
    pg: asyncpg.Connection, listener: ListenerProcess, valkey: ValkeyServer
) -> None:
    async with Ear(valkey.url, "ventas") as ear:
        await pg.execute("insert into ventas values (0, 0, '')")
        await ear.until(1)
        before = peak = listener.rss
        seen, position = 0, None
        ear.heard.clear()
        await pg.execute(
            "insert into ventas select g, g % 7, 'row ' || g from generate_series(1, 1000000) g", timeout=120
        )
        started = asyncio.get_running_loop().time()
        last = 0

        async def complete() -> bool:
            nonlocal seen, position, peak, last
            peak = max(peak, listener.rss)
            for _, publication in ear.heard:
                assert position is None or publication.prev == position
                position = publication.position
                ids = [record.id for record in publication.index]
                assert ids[0] > last and ids == sorted(set(ids))
                last = ids[-1]
                seen += len(ids)
            ear.heard.clear()
            return seen >= 1_000_000

        await eventually(complete, 120)
        seconds = asyncio.get_running_loop().time() - started
    assert seen == 1_000_000
    print(
        f"1,000,000 rows out in {seconds:.1f} s: {1_000_000 / seconds:,.0f}/s, memory +{(peak - before) / 1e6:.1f} MB"
    )
    assert peak - before < 64_000_000


@pytest.mark.slow
async def test_a_big_transaction_survives_the_death_of_everything_around_it(
    pg: asyncpg.Connection, new_listener: NewListener, streams: Streams, valkey: ValkeyServer
) -> None:
    subject = new_listener(NOTIFIWS_HISTORY_BYTES="500MB").start()
    await subject.until(ready=True, role="leader")
    await pg.execute("insert into ventas select g, 0, '' from generate_series(1, 150000) g", timeout=60)

    async def under_way(events: int) -> None:
        async def some() -> bool:
            return sum(each.count for each in await streams.publications("ventas")) > events

        await eventually(some, 30)

    await under_way(0)
    subject.kill()
    subject.start()
    await under_way(20_000)
    valkey.kill()
    valkey.start()
    await streams.redis.connection_pool.disconnect()
    await under_way(50_000)
    subject.signal(signal.SIGTERM)  # between two pages it stops, and leaves the rest
    assert await asyncio.to_thread(subject.wait, 10) == 0
    subject.start()
    await streams.until_exact(pg, "ventas", seconds=60)
    assert await pg.fetchval("select max(number) from notifiws.tick") == 1
