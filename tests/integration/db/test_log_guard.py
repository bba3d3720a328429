"""The log's bounds: past them the oldest goes early, what was not cut never, and writers notice nothing."""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg

from tests.integration.db.log import Log
from tests.integration.db.test_log_life import age

DAY = timedelta(hours=24)
MB = 1_000_000


async def fill(log: Log, text: str, megabytes: int = 1) -> None:
    """An event of so many MB that does not compress, cut."""
    await log.pg.execute(
        """select notifiws.emit('a', to_jsonb($1::text || ' ' || string_agg(md5(random()::text), '')))
        from generate_series(1, $2::int)""",
        text,
        megabytes * MB // 32,
    )
    await log.cut()


async def kept(log: Log) -> list[str]:
    rows = await log.pg.fetch("select split_part(payload::jsonb #>> '{}', ' ', 1) from notifiws.outbox order by id")
    return [row[0] for row in rows]


async def shorten(log: Log, most: int) -> asyncpg.Record:
    return (await log.query("shorten", DAY, most))[0]


async def test_the_oldest_goes_first_and_no_more_than_helps(log: Log) -> None:
    for text, hours in (("oldest", 22), ("old", 14), ("young", 6), ("new", 0)):
        await fill(log, text)
        if hours:
            await age(log, hours)
    size = await log.value("log_bytes")
    assert size > 4 * MB
    assert (await shorten(log, size))["emptied"] == []
    done = await shorten(log, size - MB // 2)
    assert await kept(log) == ["old", "young", "new"]
    assert timedelta(hours=14) < done["kept"] <= timedelta(hours=22)
    assert done["bytes"] == await log.value("log_bytes") <= size - MB // 2
    assert not done["moved"]
    # Positions in what is gone are expired, all others are whole.
    assert await log.value("oldest_tick") == 2
    assert [row["number"] for row in await log.query("ticks_after", 0, 10)] == [2, 3, 4]
    done = await shorten(log, done["bytes"] - MB // 2)
    assert await kept(log) == ["young", "new"]
    assert timedelta(hours=6) < done["kept"] <= timedelta(hours=14)


async def test_what_was_not_cut_and_the_last_tick_stay(log: Log) -> None:
    await fill(log, "last")
    await log.pg.execute("select notifiws.emit('a', '\"uncut\"')")
    await age(log, 20)
    done = await shorten(log, 1)
    assert await kept(log) == ["last", "uncut"]
    assert done["bytes"] > MB and done["emptied"] == [] and done["kept"] == timedelta()
    assert len(await log.cut()) == 1


async def test_writers_move_on_when_the_slot_being_written_is_too_large(log: Log) -> None:
    """Twice, with a writer that is still at the former slot, and one that has it in a cached plan."""
    await log.pg.execute("create table t (id int primary key); select notifiws.watch('t', 'a')")
    writer = await log.session()
    await writer.execute("insert into t values (1)")
    before = await log.pg.fetchval("select notifiws.slot()")
    await fill(log, "first", 2)
    await fill(log, "second")
    late = await log.session()
    await late.execute("begin; insert into t values (2)")
    done = await shorten(log, 2 * MB)
    assert done["moved"] and done["emptied"] == []
    now = await log.pg.fetchval("select notifiws.slot()")
    assert now == (before + 1) % 8
    await writer.execute("insert into t values (3)")
    await log.cut()
    await log.pg.execute("select notifiws.emit('a', '\"third\"')")
    await log.cut()

    async def shortened() -> asyncpg.Record:
        async with asyncio.timeout(5):
            return await shorten(log, 2 * MB)

    assert (await shortened())["emptied"] == [], "it has an open writer: nobody waits"
    await late.execute("commit; insert into t values (4)")
    assert len(await log.cut()) == 2
    await log.pg.execute("select notifiws.emit('a', '\"fourth\"')")
    await log.cut()
    done = await shortened()
    assert f"outbox_{before}" in done["emptied"]
    assert done["bytes"] < MB
    rows = await log.pg.fetch("select slot, op from notifiws.outbox order by id")
    assert {row["slot"] for row in rows} == {now}
    # What is read and what is rotated goes on as ever.
    for number in range(5, 8):
        await writer.execute(f"insert into t values ({number})")
        assert [event["key"]["id"] for event in await log.events()] == [number]
    assert await log.pg.fetchval("select notifiws.rotate('24 hours')") == []


async def test_where_every_slot_is_in_use_writers_stay_where_they_are(log: Log) -> None:
    await log.pg.execute(
        """insert into notifiws.outbox (slot, channel, op, payload, bytes, at)
        select s, 'a', 'emit', '1', 1, now() from generate_series(0, 7) s, generate_series(1, 2000)"""
    )
    before = await log.pg.fetchval("select notifiws.slot()")
    done = await shorten(log, 1)
    assert (done["moved"], done["emptied"]) == (False, [])
    assert await log.pg.fetchval("select notifiws.slot()") == before
    assert len(await log.cut()) == 16_000


async def test_a_longer_retention_keeps_the_shift(log: Log) -> None:
    await fill(log, "x", 2)
    assert (await shorten(log, MB))["moved"]
    await log.pg.execute("select notifiws.rotate('7 days')")
    slot, expected = await log.pg.fetchrow(
        "select notifiws.slot(), (date_part('epoch', clock_timestamp())::bigint / 100800 + slot_shift) % 8 "
        "from notifiws.meta where slot_shift = 1"
    )
    assert slot == expected


async def test_the_tick_before_a_moment_is_found_by_halves(log: Log) -> None:
    """As by looking at all of them; numbers below the horizon may be there or not."""
    for gone in (0, 3):
        await log.pg.execute("truncate notifiws.tick")
        await log.pg.execute(
            """insert into notifiws.tick (number, slot, snapshot, at)
            select n, n % 8, pg_current_snapshot(), now() - make_interval(mins => 100 - n)
            from generate_series(1, 40) n where n <> $1""",
            gone,
        )
        await log.pg.execute("update notifiws.meta set horizon = $1", gone)

        async def found(expression: str, minutes: int) -> Any:
            return await log.pg.fetchval(f"select {expression}", timedelta(minutes=minutes))

        for minutes in (200, 99, 98, 80, 61, 60, 10, -10):
            # The second is by looking at all.
            one = await found("notifiws.tick_before(now() - $1::interval - interval '1 second')", minutes)
            other = await found(
                "max(number) from notifiws.tick where at < now() - $1::interval - interval '1 second' and number < 40"
                " and number >= (select horizon from notifiws.meta)",
                minutes,
            )
            assert one == other, minutes
