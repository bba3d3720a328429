"""What every Publisher must do: the fake that the relay's model uses, and the adapter over a real server."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from listener_service.ports import Append, Mark, Outcome, Publisher, RedisChanged
from listener_service.publisher import RedisPublisher
from shared.keys import Keys
from shared.position import Position
from tests.contract.listener_fakes import FakePublisher, RedisModel

Entries = Callable[[str], Awaitable[list[tuple[str, bytes]]]]
ORIGIN = Position("e1", 0, 0)


def append(tick: int, event: int, expected: Position = ORIGIN, channel: str = "sales", data: bytes = b"x") -> Append:
    return Append(channel, expected, Position("e1", tick, event), data)


@pytest.fixture(params=["fake", "redis"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Publisher, Entries]]:
    if request.param == "fake":
        redis = RedisModel()

        async def held(channel: str) -> list[tuple[str, bytes]]:
            return [(position.entry_id, data) for position, data in redis.streams.get(channel, [])]

        fake = FakePublisher(redis)
        await fake.begin()
        yield fake, held
        return
    valkey = request.getfixturevalue("valkey")
    publisher = RedisPublisher(valkey.url, Keys("t"), max_age=3600, max_bytes=64_000_000)
    publisher.epoch = "e1"
    await publisher.begin()

    async def stored(channel: str) -> list[tuple[str, bytes]]:
        found = await publisher._redis.xrange(Keys("t").stream(channel, "e1"))
        return [(entry.decode(), fields[b"p"]) for entry, fields in found]

    yield publisher, stored
    await publisher.close()


async def test_an_append_at_the_expected_head_is_written(subject: tuple[Publisher, Entries]) -> None:
    publisher, entries = subject
    first, second = append(1, 5, data=b"a\x00\xff"), append(1, 9, Position("e1", 1, 5), data=b"b")
    assert await publisher.append([first, second]) == [
        Outcome(True, first.position),
        Outcome(True, second.position),
    ]
    assert await entries("sales") == [("1-5", b"a\x00\xff"), ("1-9", b"b")]


async def test_any_other_head_refuses_and_is_told(subject: tuple[Publisher, Entries]) -> None:
    publisher, entries = subject
    await publisher.append([append(3, 7)])
    late = append(9, 99, Position("e1", 2, 1))
    assert await publisher.append([late]) == [Outcome(False, Position("e1", 3, 7))]
    assert await publisher.append([append(9, 99)]) == [Outcome(False, Position("e1", 3, 7))]
    assert await entries("sales") == [("3-7", b"x")]


async def test_a_head_expected_where_nothing_is_refuses_with_the_origin(subject: tuple[Publisher, Entries]) -> None:
    publisher, entries = subject
    assert await publisher.append([append(4, 2, Position("e1", 3, 1))]) == [Outcome(False, ORIGIN)]
    assert await entries("sales") == []


async def test_the_same_again_changes_nothing(subject: tuple[Publisher, Entries]) -> None:
    publisher, entries = subject
    chain = [append(1, 1), append(1, 2, Position("e1", 1, 1)), append(1, 3, channel="stock")]
    await publisher.append(chain)
    outcomes = await publisher.append(chain)
    assert [outcome.written for outcome in outcomes] == [False, False, False]
    assert [outcome.head for outcome in outcomes] == [Position("e1", 1, 2), Position("e1", 1, 2), Position("e1", 1, 3)]
    assert await entries("sales") == [("1-1", b"x"), ("1-2", b"x")]


async def test_a_chain_that_was_cut_halfway_goes_on_where_it_ended(subject: tuple[Publisher, Entries]) -> None:
    publisher, entries = subject
    chain = [append(1, 1), append(1, 2, Position("e1", 1, 1)), append(1, 3, Position("e1", 1, 2))]
    await publisher.append(chain[:1])
    outcomes = await publisher.append(chain)
    assert outcomes == [Outcome(False, Position("e1", 1, 1)), *(Outcome(True, each.position) for each in chain[1:])]
    assert [entry for entry, _ in await entries("sales")] == ["1-1", "1-2", "1-3"]


async def test_marks(subject: tuple[Publisher, Entries]) -> None:
    publisher, _ = subject
    assert await publisher.begin() is None
    assert await publisher.marked() is None
    await publisher.mark(Mark(7))
    assert await publisher.marked() == Mark(7, 0)
    await publisher.mark(Mark(8, 3))
    assert await publisher.marked() == Mark(8, 3) == await publisher.begin()
    await publisher.mark(Mark(7, 0))
    assert await publisher.marked() == Mark(8, 3), "a deposed leader's late mark"
    await publisher.mark(Mark(8, 0))
    assert await publisher.marked() == Mark(8, 3), "a late mark of the same tick, by one who did not know of the loss"
    await publisher.mark(Mark(8, 5))
    assert await publisher.marked() == Mark(8, 5)


async def test_a_mark_whose_former_one_is_gone_is_none(subject: tuple[Publisher, Entries]) -> None:
    publisher, _ = subject
    with pytest.raises(RedisChanged):
        await publisher.mark(Mark(7), after=6)
    assert await publisher.marked() is None
    await publisher.mark(Mark(7))
    await publisher.mark(Mark(8), after=7)
    with pytest.raises(RedisChanged):
        await publisher.mark(Mark(10), after=9)
    assert await publisher.renew() == Mark(8, 0)


async def test_a_floor_goes_down_only_where_that_is_said(subject: tuple[Publisher, Entries]) -> None:
    publisher, _ = subject
    await publisher.mark(Mark(8, 5))
    await publisher.mark(Mark(8, 2))
    assert await publisher.marked() == Mark(8, 5)
    await publisher.mark(Mark(8, 2), mended=True)
    assert await publisher.marked() == Mark(8, 2)


async def test_another_incarnation_takes_nothing_before_it_was_asked_for_its_mark(
    subject: tuple[Publisher, Entries], request: pytest.FixtureRequest
) -> None:
    publisher, entries = subject
    await publisher.append([append(1, 1)])
    if isinstance(publisher, FakePublisher):
        publisher.redis.incarnation += 1
    else:
        request.getfixturevalue("valkey").command("SCRIPT", "FLUSH")  # all that a restart forgets for certain
    with pytest.raises(RedisChanged):
        await publisher.append([append(1, 2, Position("e1", 1, 1))])
    with pytest.raises(RedisChanged):
        await publisher.mark(Mark(1))
    assert await publisher.marked() is None
    assert [entry for entry, _ in await entries("sales")] == ["1-1"]
    assert await publisher.renew() is None
    await publisher.append([append(1, 2, Position("e1", 1, 1))])
    await publisher.mark(Mark(1))
    assert [entry for entry, _ in await entries("sales")] == ["1-1", "1-2"]
