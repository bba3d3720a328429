"""The log's life: slots are truncated when old, never what is needed; epochs begin when history is broken."""

import asyncpg
import pytest

from db.migrate import migrate
from tests.integration.db.log import BIG, Log


async def age(log: Log, hours: int) -> None:
    """Make everything that is logged now look as if it had been written so many hours ago (not 28 to 32: the slots
    have come round by then)."""
    slot = "((date_part('epoch', clock_timestamp()) - $1::int * 3600)::bigint / 14400 % 8)::smallint"
    for table in ("outbox", "tick"):
        await log.pg.execute(
            f"update notifiws.{table} set slot = {slot}, at = at - make_interval(hours => $1) "
            "where at > now() - interval '1 hour'",
            hours,
        )


async def emit(log: Log, text: str) -> None:
    await log.pg.execute("select notifiws.emit('a', to_jsonb($1::text))", text)


async def payloads(log: Log) -> list[str]:
    return [row[0] for row in await log.pg.fetch("select payload from notifiws.outbox order by id")]


async def rotate(log: Log, retention: str = "24 hours") -> list[str]:
    emptied: list[str] = await log.pg.fetchval(f"select notifiws.rotate('{retention}')")
    return emptied


async def test_what_is_older_than_the_retention_goes_slot_by_slot(log: Log) -> None:
    for text, hours in (("old", 26), ("younger", 20), ("new", 0)):
        await emit(log, text)
        await log.cut()
        await age(log, hours)
    assert await log.value("oldest_tick") == 1
    assert len(await rotate(log)) == 1
    assert await payloads(log) == ['"younger"', '"new"']
    assert await rotate(log) == []
    # tick 1 is still there, since tick 2 begins where it ends, but nobody may read it any more
    assert [row["number"] for row in await log.query("ticks_after", 0, 10)] == [2, 3]
    assert await log.query("tick", 1) == []
    assert await log.value("oldest_tick") == 2
    for number, text in ((2, '"younger"'), (3, '"new"')):
        tick = (await log.query("tick", number))[0]
        rows = await log.query("tick_rows_wide", tick["s1"], tick["s2"], 0, BIG)
        assert [row["payload"] for row in rows] == [text]


async def test_old_ticks_go_too(log: Log) -> None:
    for hours in (26, 26, 26, 20, 0):
        await emit(log, "x")
        await log.cut()
        await age(log, hours)
    first = await rotate(log)
    assert [name[:6] for name in first] == ["outbox"]
    await log.pg.execute("update notifiws.tick set at = at - interval '6 hours' where number <= 4")
    assert sorted(name[:5] for name in await rotate(log)) == ["outbo", "tick_"]
    assert [row[0] for row in await log.pg.fetch("select number from notifiws.tick order by 1")] == [4, 5]
    assert await log.value("oldest_tick") == 5


async def test_the_last_tick_and_uncut_events_stay_however_old(log: Log) -> None:
    await emit(log, "cut")
    await log.cut()
    await emit(log, "uncut")
    await age(log, 40)
    assert await rotate(log) == []
    assert await payloads(log) == ['"cut"', '"uncut"']
    assert [row["payload"] for row in await log.cut()] == ['"uncut"']


async def test_a_transaction_open_since_then_keeps_its_slot(log: Log) -> None:
    writer = await log.session()
    await writer.execute("begin; select notifiws.emit('a', '\"open\"')")
    await emit(log, "old")
    await log.cut()
    await age(log, 26)
    await emit(log, "new")
    await log.cut()
    await writer.execute("commit")
    # in the current slot, while the old one is emptied
    assert any(name.startswith("outbox") for name in await rotate(log))
    assert [row["payload"] for row in await log.cut()] == ['"open"']


async def test_a_slot_in_use_is_left_for_the_next_time_without_waiting(log: Log) -> None:
    await emit(log, "old")
    await log.cut()
    await age(log, 26)
    await emit(log, "new")
    await log.cut()
    reader = await log.session()
    await reader.execute("begin; select * from notifiws.outbox, notifiws.tick")
    assert await rotate(log) == []
    await reader.execute("commit")
    assert len(await rotate(log)) == 1


async def test_a_longer_retention_has_longer_slots_and_migrate_keeps_it_so(log: Log) -> None:
    await rotate(log, "24 hours")
    assert await log.pg.fetchval("select slot_seconds from notifiws.meta") == 14400
    for _ in range(2):
        await rotate(log, "7 days")
        assert await log.pg.fetchval("select slot_seconds from notifiws.meta") == 7 * 86400 / 6
        assert "100800" in await log.pg.fetchval("select pg_get_functiondef('notifiws.slot'::regproc)")
        await log.pg.execute("update notifiws.meta set functions_digest = 'other'")
        await migrate(log.pg)
    await emit(log, "x")
    assert len(await log.cut()) == 1


async def test_a_whole_log_is_no_new_epoch(log: Log) -> None:
    meta = (await log.query("meta"))[0]
    assert (meta["broken"], meta["in_recovery"]) == (None, False)


async def test_another_cluster_or_an_earlier_state_is_noticed(log: Log) -> None:
    await emit(log, "before")
    await log.cut()
    await log.pg.execute("update notifiws.meta set system_identifier = '1'")
    before = (await log.query("meta"))[0]
    assert "system identifier" in before["broken"]
    epoch = await log.value("start_epoch")
    after = (await log.query("meta"))[0]
    assert (after["epoch"], after["broken"]) == (epoch, None)
    assert epoch != before["epoch"]
    assert await payloads(log) == []
    assert await log.cut() == []
    await emit(log, "after")
    rows = await log.cut()
    assert [(row["tick"], row["payload"]) for row in rows] == [(3, '"after"')]

    await log.pg.execute("update notifiws.tick set snapshot = '900000000:900000000:' where number = 3")
    assert "beyond the current snapshot" in (await log.query("meta"))[0]["broken"]
    await log.value("start_epoch")
    assert (await log.query("meta"))[0]["broken"] is None


async def test_rows_that_a_dump_brought_from_the_future_are_not_cut_again(log: Log) -> None:
    await log.pg.execute("""insert into notifiws.outbox (tx, slot, channel, op, payload, bytes, at)
        select (x::text::bigint + 5)::text::xid8, 0, 'a', 'emit', '"restored"', 10, now()
        from pg_current_xact_id() x""")
    await log.value("start_epoch")
    for n in range(20):
        await emit(log, str(n))
    assert [row["payload"] for row in await log.cut()] == [f'"{n}"' for n in range(20)]


async def test_a_running_cut_keeps_the_epoch(log: Log) -> None:
    await emit(log, "x")
    cutter = await log.session()
    await cutter.execute("begin; select * from notifiws.cut(1, 1)")
    with pytest.raises(asyncpg.ObjectInUseError):
        await log.value("start_epoch")


async def test_vacuum_freeze_leaves_ticks_and_cuts_as_they_were(log: Log) -> None:
    """Transaction ids in the log are data, 64 bits wide: what freezing does to the rows' own does not touch them."""
    late = await log.session()
    await late.execute("begin; select notifiws.emit('a', '\"late\"')")
    for text in ("one", "two"):
        await emit(log, text)
        await log.cut()
    await emit(log, "uncut")
    for table in ("outbox", "tick"):
        await log.pg.execute(f"vacuum (freeze, analyze) notifiws.{table}")
    frozen = await log.pg.fetchval("select relfrozenxid from pg_class where oid = 'notifiws.outbox_0'::regclass")
    assert frozen
    for number, text in ((1, '"one"'), (2, '"two"')):
        tick = (await log.query("tick", number))[0]
        rows = await log.query("tick_rows_wide", tick["s1"], tick["s2"], 0, BIG)
        assert [row["payload"] for row in rows] == [text]
    await late.execute("commit")
    assert [row["payload"] for row in await log.cut()] == ['"late"', '"uncut"']
