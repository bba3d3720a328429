"""Live queries by a real leader: always true in the end, seldom run, and nobody is hurt by one that fails."""

import asyncio
import itertools
import json
import random
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from tests.conftest import Database
from tests.integration.listener.conftest import KEYS, Ear, ListenerProcess, NewListener, Streams, eventually

DECLARE = "select notifiws.live_query($1, $2, $3::text[]::regclass[], $4::text::interval, $5::text::interval)"
SUM = "select n % 3 as store, count(*) as sales, sum(n) as total from ventas group by 1 order by 1"


@pytest.fixture
async def redis(streams: Streams) -> Redis:
    return streams.redis


async def results(streams: Streams, channel: str) -> list[Any]:
    """Every result that was published, oldest first; nothing else may be on the channel."""
    found = []
    for publication in await streams.publications(channel):
        for event in publication.events():
            body = json.loads(bytes(event.data))
            assert body["op"] == "result"
            found.append(body["payload"])
    return found


async def by_hand(pg: asyncpg.Connection, query: str) -> Any:
    text = await pg.fetchval(f"select coalesce(json_agg(q), '[]')::text from ({query}) q")
    return json.loads(text)


async def until_true(streams: Streams, pg: asyncpg.Connection, channel: str, query: str, seconds: float = 10) -> None:
    """The newest result comes to equal the same SQL by hand."""
    wanted = await by_hand(pg, query)

    async def equal() -> bool:
        return (await results(streams, channel))[-1:] == [wanted]

    await eventually(equal, seconds, lambda: f"{channel}: wanted {wanted}")


async def runs(listener: ListenerProcess, channel: str) -> int:
    """How often a query was run so far."""
    _, body = await listener.get("/metrics")
    return round(
        sum(
            float(line.split()[-1])
            for line in body.decode().splitlines()
            if line.startswith(("notifiws_live_query_runs_total", "notifiws_live_query_errors_total"))
            and f'channel="{channel}"' in line
        )
    )


async def test_it_equals_the_same_sql_after_each_burst(
    listener: ListenerProcess, database: Database, pg: asyncpg.Connection, streams: Streams
) -> None:
    await pg.execute(DECLARE, "sums", SUM, ["ventas"], "40 ms", None)
    writers = [await database.connect() for _ in range(4)]
    numbers = iter(range(1, 10**6))
    chance = random.Random(8)

    async def write(writer: asyncpg.Connection) -> None:
        for _ in range(25):
            transaction = writer.transaction()
            await transaction.start()
            try:
                for _ in range(chance.randint(1, 3)):
                    await writer.execute("insert into ventas values ($1, $2, '')", next(numbers), chance.randint(0, 99))
                if chance.random() < 0.3:
                    await writer.execute("update ventas set n = n + 1 where id % 7 = $1", chance.randint(0, 6))
                if chance.random() < 0.05:
                    await writer.execute("truncate ventas")
            except asyncpg.DeadlockDetectedError:
                await transaction.rollback()
            else:
                await (transaction.rollback if chance.random() < 0.2 else transaction.commit)()

    for _ in range(4):
        await asyncio.gather(*map(write, writers))
        await until_true(streams, pg, "sums", SUM)
    # Touches are no events: not in Redis, under no channel.
    assert await streams.redis.keys("*{}*") == []
    assert "" not in json.loads(await streams.redis.get(KEYS.channels))
    touches = await pg.fetchval("select count(*) from notifiws.outbox where op = 'touch'")
    assert touches > 50
    assert "live_queries" not in await listener.readyz()
    published = await results(streams, "sums")
    assert all(before != after for before, after in itertools.pairwise(published))


async def test_the_first_change_runs_at_once_and_then_once_a_throttle(
    listener: ListenerProcess, pg: asyncpg.Connection, streams: Streams, valkey: Any
) -> None:
    async with Ear(valkey.url, "sums") as ear:
        await pg.execute(DECLARE, "sums", SUM, ["ventas"], "1500 ms", None)
        first = await ear.until(1)
        await asyncio.sleep(1.6)  # the throttle
        for number in range(1, 21):
            await pg.execute("insert into ventas values ($1, 1, '')", number)
            await asyncio.sleep(0.01)
        second = await ear.until(2)
        third = await ear.until(3)
    assert second - first < 1.6 + 1.0
    assert third - second > 1.3
    await until_true(streams, pg, "sums", SUM)
    assert await runs(listener, "sums") == 3


async def test_what_changes_nothing_runs_nothing(
    listener: ListenerProcess, pg: asyncpg.Connection, streams: Streams
) -> None:
    await pg.execute("create table lines (id int primary key, sale bigint references ventas on delete cascade)")
    await pg.execute("create table days (id int, n int) partition by range (id); create table unrelated (id int)")
    lines, days = "select count(*) as n from lines", "select count(*) as n, sum(n) as s from days"
    await pg.execute(DECLARE, "lines", lines, ["lines"], "10 ms", None)
    await pg.execute(DECLARE, "days", days, ["days"], "10 ms", None)
    await until_true(streams, pg, "lines", lines)
    await until_true(streams, pg, "days", days)
    with pytest.raises(KeyError):
        async with pg.transaction():
            await pg.execute("insert into lines values (1, null)")
            raise KeyError
    await pg.execute("insert into unrelated values (1)")
    await pg.execute("delete from lines where id = 7")
    await pg.execute("insert into ventas values (1, 1, '')")
    assert (await runs(listener, "lines"), await runs(listener, "days")) == (1, 1)
    await pg.execute("insert into lines values (1, 1)")
    await until_true(streams, pg, "lines", lines)
    await pg.execute("delete from ventas")
    await until_true(streams, pg, "lines", lines)
    assert await results(streams, "lines") == [[{"n": 0}], [{"n": 1}], [{"n": 0}]]
    # A partition that comes with rows is noticed by its coming, one that is there by each write.
    await pg.execute("create table day_1 (id int, n int); insert into day_1 values (1, 5)")
    await pg.execute("alter table days attach partition day_1 for values from (0) to (10)")
    await until_true(streams, pg, "days", days)
    await pg.execute("insert into day_1 values (2, 5)")
    await until_true(streams, pg, "days", days, 2)
    # Without a bell the fallback poll serves.
    await pg.execute("set notifiws.doorbell = off; truncate day_1")
    await until_true(streams, pg, "days", days, 3)


async def test_fifty_at_once_and_one_that_fails(
    new_listener: NewListener, pg: asyncpg.Connection, streams: Streams
) -> None:
    queries = {f"q{number}": f"select count(*) + {number} as n from ventas" for number in range(50)}
    await pg.execute("begin")
    for channel, query in queries.items():
        await pg.execute(DECLARE, channel, query, ["ventas"], "10 ms", None)
    await pg.execute(DECLARE, "broken", "select 1 / count(*) as n from ventas", ["ventas"], "10 ms", None)
    await pg.execute(DECLARE, "slow", "select pg_sleep(60)::text as n", ["ventas"], "10 ms", None)
    await pg.execute(DECLARE, "quotes", "select (select max('card 4111'::text))::int as n", ["ventas"], "10 ms", None)
    await pg.execute(DECLARE, "large", "select repeat('x', 2000) as n from ventas", ["ventas"], "10 ms", None)
    await pg.execute("commit")
    listener = new_listener(NOTIFIWS_LIVE_QUERY_SECONDS="300ms", NOTIFIWS_LIVE_QUERY_BYTES="1000").start()
    await listener.until(ready=True, role="leader")
    for channel, query in queries.items():
        await until_true(streams, pg, channel, query)

    async def failing() -> dict[str, str]:
        return {each["channel"]: each["error"] for each in (await listener.readyz()).get("live_queries", [])}

    async def broken_is_said() -> bool:
        return {"broken", "slow", "quotes"} <= (await failing()).keys()

    await eventually(broken_is_said)
    errors = await failing()
    assert errors.keys() == {"broken", "slow", "quotes"}
    assert errors["quotes"] == 'invalid input syntax for type integer: "…"', "no value of a row is said"
    assert "division by zero" in errors["broken"]
    assert "NOTIFIWS_LIVE_QUERY_SECONDS" in errors["slow"]
    assert (await listener.readyz())["ready"]
    assert await results(streams, "broken") == []
    view = await pg.fetchrow("select errors, last_error from notifiws.live_queries where channel = 'broken'")
    assert view is not None
    assert view["errors"] >= 1
    assert "division" in view["last_error"]
    await pg.execute("insert into ventas values (1, 1, '')")
    await until_true(streams, pg, "broken", "select 1 / count(*) as n from ventas")
    for channel, query in queries.items():
        await until_true(streams, pg, channel, query)

    async def mended() -> bool:
        found = await failing()
        return "broken" not in found and "NOTIFIWS_LIVE_QUERY_BYTES" in found.get("large", "")

    await eventually(mended)
    assert await results(streams, "large") == [[]], "the last result stands"
    assert await pg.fetchval("select last_error is null from notifiws.live_queries where channel = 'broken'")
    assert await runs(listener, "slow") < 8, "it backs off"


async def test_time_alone_changes_a_result(listener: ListenerProcess, pg: asyncpg.Connection, streams: Streams) -> None:
    await pg.execute("create table sales (at timestamptz not null default now())")
    recent = "select count(*) as n from sales where at > now() - interval '700 ms'"
    await pg.execute(DECLARE, "recent", recent, ["sales"], "10 ms", "100 ms")
    await until_true(streams, pg, "recent", recent)
    await pg.execute("insert into sales default values")

    async def gone() -> bool:
        return [row[0]["n"] for row in await results(streams, "recent")] == [0, 1, 0]

    await eventually(gone, 5, lambda: "never 0 again")
    # On the clock's multiples, not so long after the last run.
    await pg.execute(DECLARE, "clock", "select to_char(now(), 'SS') as second", ["sales"], "10 ms", "1 second")
    async with asyncio.timeout(10):
        while len(await results(streams, "clock")) < 3:
            await asyncio.sleep(0.05)
    ran = await pg.fetchval(
        "select extract(milliseconds from last_run) % 1000 from notifiws.live_queries where channel = 'clock'"
    )
    assert ran < 500
    second, third = [int(row[0]["second"]) for row in (await results(streams, "clock"))[1:3]]
    assert (third - second) % 60 == 1


async def test_another_leader_goes_on_and_repeats_nothing(
    new_listener: NewListener, pg: asyncpg.Connection, streams: Streams
) -> None:
    first = new_listener().start()
    await first.until(ready=True, role="leader")
    await pg.execute(DECLARE, "sums", SUM, ["ventas"], "10 ms", None)
    await pg.execute("insert into ventas values (1, 1, '')")
    await until_true(streams, pg, "sums", SUM)
    published = len(await results(streams, "sums"))
    # It dies between the change and its publication, or at least between a run and the next.
    for number in range(2, 5):
        await pg.execute("insert into ventas values ($1, 1, '')", number)
    first.kill()
    await pg.execute("insert into ventas values (9, 9, '')")
    second = new_listener().start()
    await second.until(ready=True, role="leader")
    await until_true(streams, pg, "sums", SUM)
    assert len(await results(streams, "sums")) > published
    published = len(await results(streams, "sums"))
    second.kill()
    third = new_listener().start()
    await third.until(ready=True, role="leader")

    async def ran() -> bool:
        return await runs(third, "sums") >= 1

    await eventually(ran)
    assert len(await results(streams, "sums")) == published


async def test_an_emptied_redis_gets_the_result_again_and_a_dropped_query_none(
    listener: ListenerProcess, pg: asyncpg.Connection, streams: Streams, redis: Redis
) -> None:
    await pg.execute(DECLARE, "sums", SUM, ["ventas"], "10 ms", None)
    await until_true(streams, pg, "sums", SUM)
    await redis.flushall()

    async def there() -> bool:
        raw = await redis.get(KEYS.live_queries)
        epoch = (await redis.get(KEYS.epoch) or b"").decode()
        return (
            raw is not None
            and json.loads(raw)["channels"] == ["sums"]
            and await redis.exists(KEYS.stream("sums", epoch))
        )

    await eventually(there, 20, listener.tail)
    await pg.execute("select notifiws.drop_live_query('sums')")

    async def undeclared() -> bool:
        declared, live = await redis.get(KEYS.channels), await redis.get(KEYS.live_queries)
        return "sums" not in json.loads(declared) and json.loads(live)["channels"] == []

    await eventually(undeclared, 3)
    await pg.execute("insert into ventas values (1, 1, '')")
    _, body = await listener.get("/metrics")
    assert b'channel="sums"' not in body
