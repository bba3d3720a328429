"""A node on a Valkey, and somebody who publishes as the relay would. Tests that need other ones make their own."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from notifiws.stack.valkey import ValkeyServer
from tests.nodes import RunningNode, running_node
from tests.publishing import Publisher


@pytest.fixture
async def redis(valkey: ValkeyServer) -> AsyncIterator[Redis]:
    """This test's Redis."""
    async with Redis.from_url(valkey.url) as client:
        yield client


@pytest.fixture
async def publisher(redis: Redis) -> Publisher:
    """The relay's stand-in, with the channel `sales` declared."""
    publisher = Publisher(redis)
    await publisher.begin("sales")
    return publisher


@pytest.fixture
async def node(valkey: ValkeyServer, publisher: Publisher) -> AsyncIterator[RunningNode]:
    """A node that is ready."""
    async with running_node(valkey.url) as node:
        yield node
