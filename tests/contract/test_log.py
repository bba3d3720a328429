"""What every Log must do: the fake that the relay's model uses, and the adapter over a real database."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress

import pytest

from listener_service import log as adapter
from listener_service.log import PostgresLog
from listener_service.ports import LeadershipLost, Log, Tick
from listener_service.session import FAILURES, connect
from shared.event import LogRow
from tests.conftest import Database
from tests.contract.listener_fakes import FakeLog, LogModel, row

Commit = Callable[[int], Awaitable[None]]
Break = Callable[[], Awaitable[None]]
Subject = tuple[Log, Commit, Break]


@pytest.fixture(params=["fake", "postgres"])
async def subject(
    request: pytest.FixtureRequest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Subject]:
    """A log that answers cuts of up to 4 rows whole and pages by 2, how to commit n events, how to end the session."""
    if request.param == "fake":
        model = LogModel()

        async def add(count: int) -> None:
            start = len(model.committed)
            model.committed += [row(start + number) for number in range(1, count + 1)]

        async def depose() -> None:
            model.leader = None

        yield FakeLog(model, page=2, big=4), add, depose
        return
    monkeypatch.setattr(adapter, "CUT_ROWS", 4)
    monkeypatch.setattr(adapter, "PAGE_ROWS", 2)
    writer = await database.connect(superuser=True)
    session = await connect(database.url, "test log")

    async def commit(count: int) -> None:
        await writer.execute(
            "select notifiws.emit('sales', to_jsonb(g)) from generate_series(1, $1::int) g", count, timeout=10
        )

    async def end() -> None:
        pid = session.connection.get_server_pid()
        await writer.fetchval("select pg_terminate_backend($1, 5000)", pid)

    yield PostgresLog(session), commit, end
    with suppress(*FAILURES):
        session.terminate()


async def paged(log: Log, tick: Tick, after: int = 0) -> list[LogRow]:
    """All rows of a tick; no page is empty or larger than allowed."""
    rows: list[LogRow] = []
    async with log.pages(tick, after) as pages:
        async for page in pages:
            assert 1 <= len(page) <= 2
            rows += page
    return rows


def payloads(rows: Sequence[LogRow]) -> list[int]:
    return [row.id for row in rows]


async def test_nothing_new_is_no_tick(subject: Subject) -> None:
    log, commit, _ = subject
    assert await log.cut() is None
    assert await log.last_tick() is None
    await commit(1)
    assert await log.cut() is not None
    assert await log.cut() is None


async def test_a_small_tick_is_answered_whole_and_replays_identically(subject: Subject) -> None:
    log, commit, _ = subject
    await commit(2)
    await commit(1)
    cut = await log.cut()
    assert cut is not None
    assert cut.rows is not None
    assert cut.tick.number == 1
    assert len(cut.rows) == 3
    assert payloads(cut.rows) == sorted(payloads(cut.rows))
    last = await log.last_tick()
    assert last == cut.tick
    await commit(3)
    assert await paged(log, last) == list(cut.rows) == await paged(log, last)


async def test_ticks_follow_each_other_without_gap_or_overlap(subject: Subject) -> None:
    log, commit, _ = subject
    seen: list[int] = []
    for number in range(1, 4):
        await commit(2)
        cut = await log.cut()
        assert cut is not None
        assert cut.rows is not None
        assert cut.tick.number == number
        seen += payloads(cut.rows)
    assert len(seen) == len(set(seen)) == 6


async def test_a_big_tick_is_paged_from_anywhere(subject: Subject) -> None:
    log, commit, _ = subject
    await commit(7)
    cut = await log.cut()
    assert cut is not None
    assert cut.rows is None
    rows = await paged(log, cut.tick)
    assert len(rows) == 7
    for position, each in enumerate(rows):
        assert await paged(log, cut.tick, each.id) == rows[position + 1 :]


async def test_adopted_payloads_are_cut_in_their_order(subject: Subject) -> None:
    log, _, _ = subject
    await log.adopt([("sales", '{"a": 1}'), ("stock", '"ñ"'), ("sales", "2")])
    cut = await log.cut()
    assert cut is not None
    assert cut.rows is not None
    assert [(each.channel, each.op, each.payload) for each in cut.rows] == [
        ("sales", "notify", '{"a": 1}'),
        ("stock", "notify", '"ñ"'),
        ("sales", "notify", "2"),
    ]


async def test_without_the_session_there_is_no_leadership(subject: Subject) -> None:
    log, commit, end = subject
    await commit(1)
    await log.confirm()
    await end()
    with pytest.raises(LeadershipLost):
        await log.confirm()
    with pytest.raises(LeadershipLost):
        await log.cut()
    with pytest.raises(LeadershipLost):
        await log.adopt([("sales", "1")])


async def test_a_session_that_ends_under_the_pages(subject: Subject) -> None:
    log, commit, end = subject
    await commit(7)
    cut = await log.cut()
    assert cut is not None
    with pytest.raises(LeadershipLost):
        async with log.pages(cut.tick, 0) as pages:
            async for _ in pages:
                await end()
