"""The leader's loop over a model world: crashed, frozen and cut off at every step, it publishes each event once."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from listener_service.metrics import Metrics
from listener_service.pace import Pace
from listener_service.ports import LeadershipLost, Mark, Overtaken, RedisAway
from listener_service.relay import Relay
from shared.codes import Unready
from shared.position import Position
from shared.publication import Publication
from shared.readiness import Readiness
from tests.contract.listener_fakes import (
    FakeAdopted,
    FakeDoorbell,
    FakeLog,
    FakePublisher,
    LogModel,
    RedisModel,
    Step,
    no_step,
    row,
)


class Crash(Exception):
    """The process is gone."""


class World:
    """A log, a Redis, and commits that come while a relay runs."""

    def __init__(self) -> None:
        self.log, self.redis = LogModel(), RedisModel()
        self.coming = [
            [row(1), row(3), row(2, "stock"), row(4)],
            [row(6), row(7, "stock"), row(8), row(9), row(10)],
            [row(5), row(11, "alerts")],
        ]

    def commit(self) -> bool:
        """The next transaction commits."""
        if not self.coming:
            return False
        self.log.committed += self.coming.pop(0)
        return True

    def relay(self, step: Step = no_step, *, adopted: FakeAdopted | None = None) -> tuple[Relay, asyncio.Event]:
        """A leader that commits the next transaction each time it falls asleep and stops when there is none."""
        stopping = asyncio.Event()

        def idle() -> None:
            if not self.commit():
                stopping.set()

        relay = Relay(
            "e1",
            FakeLog(self.log, step, page=2, big=3),
            FakePublisher(self.redis, "e1", step),
            FakeDoorbell(idle),
            adopted or FakeAdopted(),
            readiness=Readiness(),
            metrics=Metrics(),
            stopping=stopping,
            pace=Pace(tick=0.0, poll=0.0, fallback=0.0),
        )
        return relay, stopping

    def check(self) -> None:
        """Every committed event was heard exactly once, ticks in order, each publication linked to the one before."""
        heads: dict[str, Position] = {}
        heard: dict[str, list[int]] = {}
        for channel, data in self.redis.heard:
            publication = Publication(data)
            assert publication.prev == heads.get(channel, Position.origin("e1")), channel
            heads[channel] = publication.position
            heard.setdefault(channel, []).extend(event.id for event in publication.events())
        expected: dict[str, list[int]] = {}
        for number in range(1, len(self.log.ticks) + 1):
            for each in self.log.rows_of(number):
                expected.setdefault(each.channel, []).append(each.id)
        assert heard == expected
        assert sum(map(len, heard.values())) == len(self.log.committed)

    def check_streams(self, *, whole: bool = False) -> None:
        """Every event is in its stream, in its place, or (unless `whole`) a `prev` shows that it is not."""
        for channel in {each.channel for each in self.log.committed}:
            wanted = [
                Position("e1", number, each.id)
                for number in range(1, len(self.log.ticks) + 1)
                for each in self.log.rows_of(number)
                if each.channel == channel
            ]
            at, found = Position.origin("e1"), []
            for position, data in self.redis.streams.get(channel, []):
                publication = Publication(data)
                assert publication.prev >= at, channel
                if publication.prev > at:
                    found += [each for each in wanted if at < each <= publication.prev]
                    assert not whole
                found += [Position("e1", position.tick, event.id) for event in publication.events()]
                at = position
            # What lies beyond a stream's end is shown by nothing but the mark's floor.
            floor = self.redis.mark.floor if self.redis.mark and not whole else 0
            found += [each for each in wanted if at < each and each.tick <= floor]
            assert found == wanted, channel


def counting(count: list[int], at: int, then: Callable[[], Awaitable[None]]) -> Step:
    """A step that does `then` at step number `at`."""

    async def step(name: str) -> None:
        count[0] += 1
        if count[0] == at:
            await then()

    return step


async def crash() -> None:
    raise Crash


async def steps_of_a_run() -> int:
    """How many steps an undisturbed run has."""
    world, count = World(), [0]
    relay, _ = world.relay(counting(count, -1, crash))
    await relay.lead()
    world.check()
    return count[0]


async def test_everything_is_published_once_and_in_order() -> None:
    assert await steps_of_a_run() > 25


async def test_crashed_anywhere_and_taken_over() -> None:
    for at in range(1, await steps_of_a_run() + 1):
        world = World()
        relay, _ = world.relay(counting([0], at, crash))
        with pytest.raises(Crash):
            await relay.lead()
        heir, _ = world.relay()
        await heir.lead()
        world.check()


async def test_crashed_twice_anywhere() -> None:
    steps = await steps_of_a_run()
    for first in range(1, steps + 1):
        for second in range(1, steps + 1, 3):
            world = World()
            for at in (first, second):
                relay, _ = world.relay(counting([0], at, crash))
                try:
                    await relay.lead()
                except Crash:
                    continue
            heir, _ = world.relay()
            await heir.lead()
            world.check()


async def test_frozen_anywhere_and_waking_after_the_takeover() -> None:
    for at in range(1, await steps_of_a_run() + 1):
        world = World()
        frozen, thaw = asyncio.Event(), asyncio.Event()

        async def freeze(frozen: asyncio.Event = frozen, thaw: asyncio.Event = thaw) -> None:
            frozen.set()
            await thaw.wait()

        old, _ = world.relay(counting([0], at, freeze))
        leading = asyncio.ensure_future(old.lead())
        await frozen.wait()
        heir, _ = world.relay()
        await heir.lead()
        world.check()
        thaw.set()
        # The lock went with the session; Redis still listens to it.
        with pytest.raises((LeadershipLost, Overtaken)):
            await leading
        world.check()


async def test_frozen_anywhere_and_waking_in_the_midst_of_the_takeover() -> None:
    steps = await steps_of_a_run()
    for at in range(2, steps + 1, 2):
        for wakes in range(1, 14):
            world = World()
            frozen, thaw = asyncio.Event(), asyncio.Event()

            async def freeze(frozen: asyncio.Event = frozen, thaw: asyncio.Event = thaw) -> None:
                frozen.set()
                await thaw.wait()

            async def wake(thaw: asyncio.Event = thaw) -> None:
                thaw.set()
                for _ in range(20):
                    await asyncio.sleep(0)

            old, _ = world.relay(counting([0], at, freeze))
            leading = asyncio.ensure_future(old.lead())
            await frozen.wait()
            heir, _ = world.relay(counting([0], wakes, wake))
            await heir.lead()
            thaw.set()
            with pytest.raises((LeadershipLost, Overtaken)):
                await leading
            world.check()


async def test_redis_away_anywhere_keeps_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("listener_service.relay.backoff", lambda *_, **__: 0.0)
    for at in range(1, await steps_of_a_run() + 1):
        for times in (1, 3):
            world = World()
            left = [times]

            async def away(left: list[int] = left, world: World = world) -> None:
                world.redis.away = RedisAway("gone")

            inner = counting([0], at, away)

            async def step(name: str, left: list[int] = left, world: World = world, inner: Step = inner) -> None:
                if world.redis.away and name in ("begin", "renew", "append", "mark", "ask mark"):
                    left[0] -= 1
                    if left[0] <= 0:
                        world.redis.away = None
                await inner(name)

            relay, _ = world.relay(step)
            await relay.lead()
            world.check()


async def test_an_answer_that_is_lost_is_no_second_publication(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("listener_service.relay.backoff", lambda *_, **__: 0.0)
    world = World()
    lost = 0

    async def step(name: str) -> None:
        nonlocal lost
        if name == "appended" and lost < 5:
            lost += 1
            raise RedisAway("no answer")

    relay, _ = world.relay(step)
    await relay.lead()
    world.check()


async def test_redis_restarted_anywhere_without_its_latest_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next answer comes of another incarnation, in which some of what was acknowledged never was."""
    monkeypatch.setattr("listener_service.relay.backoff", lambda *_, **__: 0.0)
    steps = await steps_of_a_run()
    for writes in (0, 1, 2, 4):
        for at in range(1, steps + 1):
            world = World()

            async def lose(world: World = world, writes: int = writes) -> None:
                world.redis.lose(min(writes, len(world.redis.past)))

            relay, _ = world.relay(counting([0], at, lose))
            await relay.lead()
            heir, _ = world.relay()  # what is lost after the last tick is seen by the heartbeat, or by this one
            await heir.lead()
            world.check_streams(whole=writes == 0)
            assert world.redis.mark is not None
            assert world.redis.mark.tick == len(world.log.ticks)


async def test_redis_restarted_and_the_leader_crashed_a_little_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("listener_service.relay.backoff", lambda *_, **__: 0.0)
    steps = await steps_of_a_run()
    for writes in (1, 3):
        for at in range(1, steps + 1):
            for later in range(1, 5):
                world = World()

                async def lose(world: World = world, writes: int = writes) -> None:
                    world.redis.lose(min(writes, len(world.redis.past)))

                count = [0]
                inner, outer = counting(count, at, lose), counting([0], at + later, crash)

                async def step(name: str, inner: Step = inner, outer: Step = outer) -> None:
                    await inner(name)
                    await outer(name)

                relay, _ = world.relay(step)
                with contextlib.suppress(Crash):
                    await relay.lead()
                heir, _ = world.relay()
                await heir.lead()
                world.check_streams()


async def test_a_redis_that_changes_under_every_call_is_not_asked_all_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("listener_service.relay.backoff", lambda *_, **__: 0.0)
    world = World()
    world.commit()
    waited: list[float] = []

    async def step(name: str) -> None:
        if name == "append" and len(waited) < 5:
            world.redis.incarnation += 1

    relay, _ = world.relay(step)
    wait = relay._wait_for_redis

    async def wait_for_redis(away: RedisAway) -> bool:
        waited.append(relay._failures)
        return await wait(away)

    relay._wait_for_redis = wait_for_redis  # type: ignore[method-assign]
    await relay.lead()
    world.check()
    assert len(waited) == 5
    assert relay._metrics.registry.get_sample_value("notifiws_listener_redis_changed_total") == 6


async def test_readiness_says_why_redis_does_not_take_it() -> None:
    world = World()
    world.redis.away = RedisAway("Redis is out of memory; raise its maxmemory")
    relay, _ = world.relay()
    leading = asyncio.ensure_future(relay.lead())
    while not relay.redis_failing:
        await asyncio.sleep(0)
    assert relay._readiness.has(Unready.REDIS)
    world.redis.away = None
    await leading
    assert not relay._readiness.has(Unready.REDIS)
    world.check()


async def test_stopped_while_redis_is_away_leaves_the_tick_to_the_next_leader() -> None:
    world = World()
    world.commit()
    world.redis.away = RedisAway("gone")
    relay, stopping = world.relay()
    leading = asyncio.ensure_future(relay.lead())
    while not relay.redis_failing:
        await asyncio.sleep(0)
    stopping.set()
    await leading
    world.redis.away = None
    heir, _ = world.relay()
    await heir.lead()
    world.check()


async def test_an_emptied_redis_leaves_a_hole_that_prev_shows() -> None:
    world = World()
    relay, _ = world.relay()
    await relay.lead()
    heard = len(world.redis.heard)
    world.redis.wipe()
    world.coming = [[row(20)], [row(21, "fresh"), row(22, "stock")]]
    heir, _ = world.relay()
    await heir.lead()
    first = {}
    for channel, data in world.redis.heard[heard:]:
        first.setdefault(channel, Publication(data))
    # The last tick comes again (nodes drop what they have), and whoever stands before what is lost learns of a gap.
    assert {channel: publication.position.tick for channel, publication in first.items()} == {
        "sales": 3, "alerts": 3, "fresh": 5, "stock": 5,
    }  # fmt: skip
    assert all(publication.prev > Position("e1", 2, 10**9) for publication in first.values())
    assert world.redis.mark == Mark(5, 2)
    # The next leader knows of it too, from the mark.
    world.coming = [[row(30, "orders")]]
    third, _ = world.relay()
    await third.lead()
    assert Publication(world.redis.heard[-1][1]).prev > Position("e1", 2, 10**9)


async def test_an_emptied_redis_under_one_leader_keeps_the_true_prev() -> None:
    world = World()
    world.coming = [[row(1)], [row(2)]]
    relay, _ = world.relay()
    wiped = False

    async def step(name: str) -> None:
        nonlocal wiped
        if name == "was cut" and len(world.log.ticks) == 2 and not wiped:
            wiped = True
            world.redis.wipe()

    relay._log.step = step  # type: ignore[attr-defined]
    await relay.lead()
    publication = Publication(world.redis.heard[-1][1])
    assert (publication.prev, publication.position) == (Position("e1", 1, 1), Position("e1", 2, 2))


async def test_adopted_payloads_are_logged_first_and_then_published() -> None:
    world = World()
    world.coming = []
    relay, _ = world.relay(adopted=FakeAdopted(("sales", '{"a":1}'), ("sales", '{"a":2}')))
    await relay.lead()
    world.check()
    [publication] = [Publication(data) for _, data in world.redis.heard]
    assert [bytes(event.payload or b"") for event in publication.events()] == [b'{"a":1}', b'{"a":2}']


async def test_what_is_adopted_while_stopping_is_still_logged() -> None:
    world = World()
    world.coming = []
    adopted = FakeAdopted()
    relay, stopping = world.relay(adopted=adopted)
    stopping.set()
    adopted.payloads.append(("sales", "1"))
    await relay.lead()
    assert [each.payload for each in world.log.committed] == ["1"]


async def test_the_first_tick_after_idleness_is_cut_at_once_and_later_ones_are_paced() -> None:
    world = World()
    stopping = asyncio.Event()
    cuts: list[float] = []

    async def step(name: str) -> None:
        if name == "was cut":
            cuts.append(asyncio.get_running_loop().time())
            if not world.commit():
                stopping.set()

    world.commit()
    relay = Relay(
        "e1",
        FakeLog(world.log, step),
        FakePublisher(world.redis),
        FakeDoorbell(stopping.set),
        FakeAdopted(),
        readiness=Readiness(),
        metrics=Metrics(),
        stopping=stopping,
        pace=Pace(tick=0.02, burst=1),
    )
    started = asyncio.get_running_loop().time()
    await relay.lead()
    assert cuts[0] - started < 0.015
    assert all(cut - started >= number * 0.02 - 0.0005 for number, cut in enumerate(cuts))


@pytest.mark.parametrize("granted", [True, False])
async def test_the_bell_is_asked_for_only_after_an_empty_look(granted: bool) -> None:
    world = World()
    order: list[str] = []

    async def step(name: str) -> None:
        if name in ("cut", "was cut"):
            order.append(name)

    relay, _ = world.relay(step)
    world.coming = []
    doorbell = relay._doorbell
    assert isinstance(doorbell, FakeDoorbell)
    doorbell.grant = granted
    asked = doorbell.fall_asleep

    async def fall_asleep() -> bool:
        order.append("asleep?")
        return await asked()

    doorbell.fall_asleep = fall_asleep  # type: ignore[method-assign]
    await relay.lead()
    # Granted: one more look before waiting. Refused: no waiting for the lock, another look soon.
    assert order == (["cut", "asleep?", "cut"] if granted else ["cut", "asleep?"])
    assert not doorbell.asleep
