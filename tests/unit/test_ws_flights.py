"""Shared reads: one for all who want it at once, never a hole and never an end from memory; and the pace of a storm."""

import asyncio
from collections.abc import Sequence

import pytest

from shared.position import Position
from shared.publication import Publication
from tests.unit.test_ws_feed import chain
from ws_service import flights
from ws_service.flights import Flights
from ws_service.pace import Pace


def at(number: int) -> Position:
    return Position("e1", number, number)


class Source:
    """A stream of which each read is counted."""

    def __init__(self, publications: Sequence[Publication]) -> None:
        self.publications = publications
        self.reads = 0
        self.failing = False

    async def read(self, position: Position) -> Sequence[Publication]:
        self.reads += 1
        await asyncio.sleep(0)
        if self.failing:
            raise OSError
        return [each for each in self.publications if each.position > position][:4]


async def test_those_who_come_back_together_share_their_reads() -> None:
    source, shared = Source(chain([1] * 12)), Flights()

    async def follow(position: Position) -> list[Position]:
        seen = []
        while position != at(12):
            found, _ = await shared.read("c", position, lambda p=position: source.read(p))
            assert found[0].prev <= position
            seen += [each.position for each in found]
            position = seen[-1]
        return seen

    for seen in await asyncio.gather(*(follow(at(2)) for _ in range(100)), *(follow(at(4)) for _ in range(100))):
        assert seen in ([at(n) for n in range(3, 13)], [at(n) for n in range(5, 13)])
    assert source.reads == 3
    assert not shared._turns


async def test_an_end_is_never_answered_from_memory() -> None:
    source, shared = Source(chain([1] * 4)), Flights()
    await shared.read("c", at(0), lambda: source.read(at(0)))
    assert await shared.read("c", at(4), lambda: source.read(at(4))) == ([], True)
    assert await shared.read("c", at(4), lambda: source.read(at(4))) == ([], True)
    assert source.reads == 3


async def test_a_hole_is_not_kept() -> None:
    whole = chain([1] * 4)
    source, shared = Source([whole[0], *whole[2:]]), Flights()
    await shared.read("c", at(0), lambda: source.read(at(0)))
    found, own = await shared.read("c", at(1), lambda: source.read(at(1)))
    assert own
    assert found[0].prev == at(2)


async def test_a_read_that_failed_is_tried_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    source, shared = Source(chain([1] * 4)), Flights()
    source.failing = True
    first = asyncio.create_task(shared.read("c", at(0), lambda: source.read(at(0))))
    second = asyncio.create_task(shared.read("c", at(0), lambda: source.read(at(0))))
    with pytest.raises(OSError):
        await first
    source.failing = False
    assert (await second)[1]


async def test_memory_is_bounded_and_short(monkeypatch: pytest.MonkeyPatch) -> None:
    publications = chain([1] * 4)
    size = sum(len(each.data) for each in publications)
    monkeypatch.setattr(flights, "KEEP_BYTES", 3 * size)
    monkeypatch.setattr(flights, "KEEP_SECONDS", 0.05)
    source, shared = Source(publications), Flights()
    for number in range(10):
        await shared.read(number, at(0), lambda: source.read(at(0)))
        assert shared.bytes <= 3 * size
    while shared.bytes:
        await asyncio.sleep(0.01)
    assert not shared._by_channel


async def test_a_storm_leaves_room_in_every_turn() -> None:
    pace = Pace(per_turn=5)
    served = 0

    async def one() -> None:
        nonlocal served
        await pace.turn()
        served += 1

    tasks = [asyncio.create_task(one()) for _ in range(23)]
    tasks[7].cancel()
    turns = [0]
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        assert served - turns[-1] <= 10
        turns.append(served)
    assert served == 22
    assert len(turns) >= 5
