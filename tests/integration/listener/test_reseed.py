"""Redis is emptied, or comes back without its end: the leader builds the window anew, while writers go on."""

import asyncio
import random

import asyncpg
import pytest
from redis.asyncio import Redis

from notifiws.stack.valkey import ValkeyServer
from tests.client import order
from tests.conftest import Database
from tests.integration.listener.conftest import KEYS, Ear, ListenerProcess, NewListener, Streams, eventually
from tests.integration.listener.test_exactly_once import check_rows, writers
from tests.nodes import RunningNode, running_node


async def reseeded(listener: ListenerProcess, redis: "Redis", times: int = 1) -> None:
    async def done() -> bool:
        whole = await listener.metric("reseeded_total") >= times and await listener.metric("reseeding") == 0
        return whole and bool(await redis.exists(KEYS.epoch))

    # Patience, not a bound: no rebuild is promised within a time, and what clients must see meanwhile is asserted.
    await eventually(done, 50, listener.tail)


async def sides(redis: "Redis") -> list[bytes]:
    """Streams that are being built."""
    return [key async for key in redis.scan_iter(match=f"{KEYS.namespace}:*:seed:*")]


async def test_emptied_while_idle(
    pg: asyncpg.Connection, listener: ListenerProcess, streams: Streams, valkey: ValkeyServer
) -> None:
    await pg.execute("select notifiws.watch('ventas', 'otras')")
    for number in range(30):
        await pg.execute("insert into ventas values ($1, 0, '')", number)
    await streams.until_exact(pg, "ventas")
    before = await streams.publications("ventas")
    await streams.redis.flushall()
    await reseeded(listener, streams.redis)
    after = await streams.publications("ventas")
    assert (await streams.redis.get(KEYS.published) or b"").endswith(b":0")
    assert [each["code"] for each in (await listener.readyz()).get("warnings", [])] == []
    # Not a byte is another one.
    assert [each.data for each in after] == [each.data for each in before]
    await pg.execute("insert into ventas values (100, 0, '')")
    await streams.until_exact(pg, "ventas")
    assert await sides(streams.redis) == []
    assert await streams.redis.ttl(KEYS.stream("ventas", before[0].position.epoch)) == -1

    assert (await streams.redis.get(KEYS.published) or b"").endswith(b":0")
    assert await listener.metric("redis_lost_total") == 1


@pytest.mark.slow
async def test_emptied_again_and_again_while_writing(
    database: Database, pg: asyncpg.Connection, listener: ListenerProcess, streams: Streams, valkey: ValkeyServer
) -> None:
    async with Ear(valkey.url, "ventas") as ear:
        async with writers(database):
            for times in range(1, 4):
                await ear.until(ear.events + 200)
                await streams.redis.flushall()
                await reseeded(listener, streams.redis, times)
        await streams.until_exact(pg, "ventas")
        await check_rows(streams)
        # A tick that was under way may come twice; nodes drop what they have.
        heard = list(dict.fromkeys(publication.position for _, publication in ear.heard))
        assert heard == sorted(heard)
    assert await sides(streams.redis) == []


@pytest.mark.slow
async def test_killed_while_building(
    database: Database, pg: asyncpg.Connection, new_listener: NewListener, streams: Streams, valkey: ValkeyServer
) -> None:
    subject = new_listener().start()
    async with Ear(valkey.url, "ventas") as ear, writers(database):
        for _ in range(3):
            await ear.until(ear.events + 300)
            await streams.redis.flushall()

            async def building() -> bool:
                return bool(await sides(streams.redis)) or await subject.metric("reseeded_total") > 0

            await eventually(building, explain=subject.tail)
            subject.kill()
            subject.start()
            await subject.until(ready=True, role="leader")
    await reseeded(subject, streams.redis)
    await streams.until_exact(pg, "ventas")
    await check_rows(streams)


async def test_emptied_between_two_leaders(pg: asyncpg.Connection, new_listener: NewListener, streams: Streams) -> None:
    first = new_listener().start()
    await first.until(ready=True, role="leader")
    for number in range(3):
        await pg.execute("insert into ventas values ($1, 0, '')", number)
        await streams.until_exact(pg, "ventas")  # a tick of its own
    first.kill()
    await streams.redis.flushall()
    await pg.execute("insert into ventas values (10, 0, '')")
    second = new_listener().start()
    await second.until(ready=True, role="leader")
    await reseeded(second, streams.redis)
    await streams.until_exact(pg, "ventas")
    await asyncio.gather(*(pg.execute("insert into ventas values ($1, 0, '')", number) for number in (11,)))
    await streams.until_exact(pg, "ventas")


async def _follow(node: RunningNode, since: str, done: asyncio.Event, end: "asyncio.Future[str]") -> list[int]:
    """Ids of all events from a position to the end; told to fetch afresh it fails."""
    async with node.v1() as client:
        answer = await client.ask(type="subscribe", id=1, channel="ventas", since=since)
        assert (answer["type"], answer.get("recovered")) == ("subscribed", True), str(answer)[:600]
        done.set()
        at, found = answer["position"], []
        while not (end.done() and at == end.result()):
            try:
                frame = await client.frame(seconds=0.5)
            except TimeoutError:
                continue
            assert frame["type"] == "events", frame
            assert order(frame["prev"]) <= order(at) < order(frame["position"])
            at = frame["position"]
            found += [event["id"] for event in frame["events"]]
        return found


@pytest.mark.slow
@pytest.mark.parametrize("reader", [False, True])
async def test_nobody_is_told_to_fetch_afresh(
    reader: bool,
    database: Database,
    pg: asyncpg.Connection,
    new_listener: NewListener,
    streams: Streams,
    valkey: ValkeyServer,
) -> None:
    """Clients resume all over the window right after Redis is emptied, and after the leader was killed, too."""
    subject = new_listener().start()
    await subject.until(ready=True, role="leader")
    chance, end = random.Random(3), asyncio.get_running_loop().create_future()
    options = {"reader_database_url": database.url} if reader else {}
    async with Ear(valkey.url, "ventas") as ear, running_node(valkey.url, **options) as node:
        followers, starts = [], []

        async def follow(since: str) -> None:
            starts.append(since)
            done = asyncio.Event()
            followers.append(asyncio.create_task(_follow(node, since, done, end)))
            await asyncio.wait([followers[-1], asyncio.create_task(done.wait())], return_when="FIRST_COMPLETED")

        async with writers(database):
            await ear.until(200)
            await follow(str(ear.heard[0][1].position))
            for kill in (False, True):
                await ear.until(ear.events + 200)
                if kill:
                    subject.kill()
                await streams.redis.flushall()
                if kill:
                    subject.start()
                known = [publication.position for _, publication in ear.heard]
                await asyncio.gather(*(follow(str(chance.choice(known))) for _ in range(15)))
        await subject.until(ready=True, role="leader")
        await reseeded(subject, streams.redis)
        await streams.until_exact(pg, "ventas")
        whole = await streams.publications("ventas")
        end.set_result(str(whole[-1].position))
        for since, follower in zip(starts, followers, strict=True):
            wanted = [event.id for each in whole if order(str(each.position)) > order(since) for event in each.events()]
            assert await asyncio.wait_for(follower, 20) == wanted
