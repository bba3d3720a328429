"""What breaks between a node and Redis, or between a node and a client: nothing is lost, nothing comes twice."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator

from redis.asyncio import Redis
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from notifiws.stack.valkey import ValkeyServer
from shared.codes import Unready
from tests.client import Client
from tests.nodes import RunningNode, running_node
from tests.publishing import Publisher, ids


@contextlib.asynccontextmanager
async def publishing(publisher: Publisher, pause: float = 0.002) -> AsyncIterator[None]:
    """Publish without end."""

    async def publish() -> None:
        while True:
            await publisher.publish("sales", 2)
            await asyncio.sleep(pause)

    task = asyncio.create_task(publish())
    try:
        yield
    finally:
        # Not in the midst of a publication, whose fate would be unknown.
        publisher_stopped = asyncio.Event()
        original = publisher.publish

        async def last(*_: object, **__: object) -> None:
            publisher_stopped.set()
            await asyncio.get_running_loop().create_future()

        publisher.publish = last  # type: ignore[method-assign,assignment]
        await publisher_stopped.wait()
        task.cancel()
        publisher.publish = original  # type: ignore[method-assign]


async def exact(client: Client, publisher: Publisher) -> None:
    """`client` saw everything from its first event on, once, in order."""
    await client.wait(lambda: client.events and client.events[-1]["id"] == publisher.number)
    assert not client.faults, client.faults[:2]
    assert not client.resets, client.resets[:2]
    sent = publisher.sent["sales"]
    assert ids(client.events) == sent[sent.index(client.events[0]["id"]) :]


async def test_pubsub_cut_by_the_server(node: RunningNode, publisher: Publisher, redis: Redis) -> None:
    async with Client(node.ws, "sales") as client:
        async with publishing(publisher):
            for _ in range(6):
                await asyncio.sleep(0.1)
                await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await exact(client, publisher)
        assert not client.closes
    assert node.node.metrics.registry.get_sample_value("notifiws_node_redis_reconnects_total") >= 3


async def test_all_connections_to_redis_cut(node: RunningNode, publisher: Publisher, valkey: ValkeyServer) -> None:
    async with Client(node.ws, "sales") as client, Client(node.ws, "sales") as dropping:
        async with publishing(publisher):
            for _ in range(6):
                await asyncio.sleep(0.1)
                valkey.command("CLIENT", "KILL", "TYPE", "normal")
                dropping.drop()
        await exact(client, publisher)
        await exact(dropping, publisher)
        assert not client.closes


async def test_a_storm_of_cuts(node: RunningNode, publisher: Publisher, valkey: ValkeyServer) -> None:
    """Connections break in any state they can be in: while sending, connecting, subscribing, probing."""
    async with Client(node.ws, "sales") as client, Client(node.ws, "sales") as dropping:
        async with publishing(publisher, 0.001):
            for number in range(80):
                await asyncio.sleep(0.03)
                valkey.command("CLIENT", "KILL", "TYPE", ("pubsub", "normal")[number % 2])
                if number % 5 == 0:
                    dropping.drop()
        await exact(client, publisher)
        await exact(dropping, publisher)
        assert not client.closes
    await node.ready()


async def test_redis_killed_and_started_again(node: RunningNode, publisher: Publisher, valkey: ValkeyServer) -> None:
    async with Client(node.ws, "sales") as client, Client(node.ws, "sales") as dropping:
        async with publishing(publisher):
            await client.received(50)
            valkey.kill()
            await node.until(lambda: node.node.readiness.has(Unready.REDIS))
            ready = await node.get("/readyz")
            assert ready.status_code == 503
            assert ready.json()["reasons"][0]["code"] == "redis"
            assert (await node.get("/healthz")).status_code == 200
            assert (await node.get("/channels/sales/events")).status_code == 503
            dropping.drop()
            await asyncio.sleep(0.3)
            valkey.start()  # from the main thread: its life is tied to the one that starts it
            await node.ready()
            await client.received(len(client.events) + 50)
        await exact(client, publisher)
        await exact(dropping, publisher)
        assert not client.closes


async def test_redis_frozen(node: RunningNode, publisher: Publisher, valkey: ValkeyServer) -> None:
    async with Client(node.ws, "sales") as client:
        async with publishing(publisher):
            await client.received(50)
            assert valkey.pid
            os.kill(valkey.pid, signal.SIGSTOP)
            try:
                await node.until(lambda: not node.node.readiness.ready, 10)
            finally:
                os.kill(valkey.pid, signal.SIGCONT)
            await node.ready()
            await client.received(len(client.events) + 50)
        await exact(client, publisher)
        assert not client.closes


async def test_a_deaf_subscription_is_noticed(node: RunningNode, publisher: Publisher, redis: Redis) -> None:
    """The connection stays open and answers, but its subscriptions are gone."""
    async with Client(node.ws, "sales") as client:
        await publisher.publish("sales", 1)
        await client.received(1)
        node.node._pubsub._topics.pop(publisher.keys.node_probe(node.node.name).encode())
        await node.until(lambda: node.node.readiness.has(Unready.DEAF), 10)
        from ws_service.pubsub import Topic

        pubsub = node.node._pubsub
        pubsub.follow(Topic(publisher.keys.node_probe(node.node.name), pubsub._on_probe))
        await node.ready()
        await publisher.publish("sales", 1)
        await client.received(2)


async def test_redis_away_at_the_start(valkey: ValkeyServer, publisher: Publisher) -> None:
    valkey.kill()
    async with running_node(valkey.url, wait=False) as node:
        await node.until(lambda: node.node.readiness.has(Unready.REDIS))
        client = Client(node.ws, "sales")
        entering = asyncio.create_task(client.__aenter__())
        async with node.plain("sales") as plain:
            valkey.start()  # from the main thread: its life is tied to the one that starts it
            await node.ready()
            await entering
            await asyncio.sleep(0.3)
            await publisher.publish("sales", 1)
            await client.received(1)
            assert await plain.recv() == '{"id":1,"pad":""}'
        await client.__aexit__()


async def test_no_leader_yet(valkey: ValkeyServer, redis: Redis) -> None:
    async with running_node(valkey.url, wait=False) as node:
        await node.until(lambda: node.node._pubsub.proven)
        reasons = (await node.get("/readyz")).json()["reasons"]
        assert reasons[0]["code"] == "starting"
        assert "listener" in reasons[0]["message"]
        publisher = Publisher(redis)
        await publisher.begin("sales")
        await node.ready()
        async with Client(node.ws, "sales") as client:
            await publisher.publish("sales", 1)
            await client.received(1)


async def test_a_reader_that_stalls_is_closed_and_hurts_nobody(valkey: ValkeyServer, publisher: Publisher) -> None:
    async with running_node(valkey.url, send_buffer_bytes=200_000) as node, Client(node.ws, "sales") as client:
        small = socket.socket()
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        small.setblocking(False)
        await asyncio.get_running_loop().sock_connect(small, ("127.0.0.1", node.port))
        async with connect(
            node.ws + "/ws", sock=small, subprotocols=["notifiws.v1"], compression=None, max_queue=1, ping_interval=None
        ) as stalled:
            await stalled.send('{"type":"subscribe","id":1,"channel":"sales"}')
            await node.until(
                lambda: len(node.node.hub._channels["sales"][next(iter(node.node.hub._channels["sales"]))].members) == 2
            )
            for _ in range(600):
                await publisher.publish("sales", 1, pad=10_000)
            await exact(client, publisher)
            await node.until(lambda: node.node.metrics.slow._value.get() == 1)
            await node.until(lambda: len(node.node.clients) == 1)
            received = 0
            with contextlib.suppress(Exception):
                async for message in stalled:
                    received += len(message)
            assert stalled.close_code == 4409
            assert received < 6_000_000
        await node.until(
            lambda: not node.server.server_state.connections or len(node.server.server_state.connections) == 1, 10
        )


async def test_a_peer_that_never_reads_again_is_cut_off(valkey: ValkeyServer, publisher: Publisher) -> None:
    async with running_node(valkey.url, send_buffer_bytes=100_000) as node:
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port, limit=1024)
        writer.write(
            b"GET /ws/sales HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        await reader.readline()
        await node.until(lambda: "sales" in node.node.hub._channels)
        for _ in range(900):
            await publisher.publish("sales", 1, pad=10_000)
        await node.until(lambda: not node.node.clients)
        await node.until(lambda: not node.server.server_state.connections, 10)
        writer.transport.abort()


async def test_drain_sends_clients_away_and_loses_nothing(valkey: ValkeyServer, publisher: Publisher) -> None:
    async with running_node(valkey.url) as stays:
        async with running_node(valkey.url) as leaves:
            urls = [leaves.ws]
            clients = [Client(lambda: urls[-1], "sales") for _ in range(20)]
            for client in clients:
                await client.__aenter__()
            async with leaves.v1() as said, publishing(publisher), leaves.plain("sales") as plain:
                urls.append(stays.ws)
                leaves.server.stop()
                frame = await said.frame()
                assert frame["type"] == "reconnect"
                assert frame["after_ms"] >= 0
                assert (await leaves.get("/readyz")).json()["reasons"][0]["code"] == "draining"
                assert (await said.closed())[0] == 1012
                with contextlib.suppress(ConnectionClosed):
                    while True:
                        await plain.recv()
                assert plain.close_code == 1012
                for client in clients:
                    await client.wait(lambda client=client: len(client.subscribed) == 2)
        for client in clients:
            await exact(client, publisher)
            assert client.closes == [1012]
            await client.__aexit__()
