"""How a node reaches Redis: connections for commands, and single ones for pub/sub. Nothing retries in silence here."""

from typing import Any, Final

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from shared.redis_url import timeouts

# Whatever a Redis that is away, frozen, loading or refusing raises.
REDIS_ERRORS: Final = (RedisError, OSError, TimeoutError)

_COMMON: Final[dict[str, Any]] = {"protocol": 2, "decode_responses": False}


def commands(url: str, connections: int, **options: Any) -> "redis.Redis":
    """A client for commands. A command waits for a free connection (so many run at once), then 5 s for its answer."""
    pool = redis.BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=None,
        **{**timeouts(url), **_COMMON, "retry": Retry(NoBackoff(), 0), **options},
    )
    return redis.Redis.from_pool(pool)


def lone_connection(url: str) -> "redis.Connection":
    """One connection outside any pool, which never reconnects by itself: its owner must know of every break."""
    pool: Any = redis.ConnectionPool.from_url(url, **{**timeouts(url), **_COMMON, "retry": Retry(NoBackoff(), 0)})
    connection: redis.Connection = pool.make_connection()
    return connection
