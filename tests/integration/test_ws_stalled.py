"""A node that stood still for a while, or whose clock jumped: its subscriptions are exact afterwards."""

import asyncio
import signal

import pytest
from redis.asyncio import Redis

from notifiws.stack.ports import free_port
from notifiws.stack.valkey import ValkeyServer
from tests.client import Client
from tests.integration.test_ws_faults import exact, publishing
from tests.integration.test_ws_process import process, ready
from tests.nodes import RunningNode
from tests.publishing import Publisher

_STALL_SECONDS = 20


@pytest.mark.slow
async def test_a_node_that_was_stopped_for_20_seconds(valkey: ValkeyServer, publisher: Publisher, redis: Redis) -> None:
    """The kernel goes on taking bytes for it until Redis cuts it off; clients' pings go unanswered."""
    # A pub/sub client that does not read is cut early, as a busier channel would have it.
    await redis.config_set("client-output-buffer-limit", "pubsub 1mb 1mb 5")
    port = free_port()
    try:
        with process(port, REDIS_URL=valkey.url) as node:
            await ready(port)
            async with Client(f"ws://127.0.0.1:{port}", "sales") as client:
                for _ in range(5):
                    await publisher.publish("sales", 2)
                await client.received(10)
                node.send_signal(signal.SIGSTOP)
                for _ in range(_STALL_SECONDS * 5):
                    await asyncio.sleep(0.2)
                    await publisher.publish("sales", 1, pad=200_000)
                node.send_signal(signal.SIGCONT)
                for _ in range(5):
                    await publisher.publish("sales", 2)
                await exact(client, publisher)
                assert not client.closes, "the client did not even notice"
            await ready(port)
    finally:
        await redis.config_set("client-output-buffer-limit", "pubsub 32mb 8mb 60")


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0])
async def test_a_clock_that_jumps(
    node: RunningNode, publisher: Publisher, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    async with Client(node.ws, "sales") as client, Client(node.ws, "sales") as dropping:
        async with publishing(publisher):
            await client.received(10)
            for module in ("resume", "hub", "broker"):
                monkeypatch.setattr(f"ws_service.{module}.time", lambda: publisher.client and 1_800_000_000.0 + jump)
            for _ in range(4):
                dropping.drop()
                await asyncio.sleep(0.1)
        await exact(client, publisher)
        await exact(dropping, publisher)
        assert not client.closes
    assert node.node.readiness.ready
