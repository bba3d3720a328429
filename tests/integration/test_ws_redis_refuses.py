"""A node whose Redis answers, but refuses it: /readyz says which, and what mends it."""

import contextlib
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from notifiws.stack.valkey import ValkeyServer
from tests.nodes import RunningNode, running_node


@pytest.fixture
async def address(valkey: ValkeyServer) -> AsyncIterator[str]:
    """Host and port of a Redis that wants a password and has a user `bare` who may do next to nothing."""
    async with Redis.from_url(valkey.url) as client:
        await client.execute_command("ACL", "SETUSER", "bare", "on", ">right", "+ping", "+client", "+hello", "+auth")
        yield valkey.url.rpartition("@")[2]
        with contextlib.suppress(Exception):
            await client.execute_command("ACL", "DELUSER", "bare")


@pytest.mark.parametrize(
    ("user", "what"),
    [(":wrong@", "refuses the user or password"), ("", "wants a password"), ("bare:right@", "forbids")],
)
async def test_what_redis_refuses_is_named(address: str, user: str, what: str) -> None:
    async with running_node(f"redis://{user}{address}", wait=False) as node:
        await node.until(lambda: what in _redis_reason(node))
        reason = _redis_reason(node)
        assert "does not answer" not in reason
        assert "start it again" not in reason
        assert "REDIS_URL" in reason
        assert "wrong@" not in reason


def _redis_reason(node: RunningNode) -> str:
    return " ".join(each["message"] for each in node.node.readiness.reasons if each["code"] == "redis")
