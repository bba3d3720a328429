"""How a node reaches Redis: connections for commands, and single ones for pub/sub. Nothing retries in silence here."""

from typing import Any, Final

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, BusyLoadingError, NoPermissionError, RedisError

from shared.redis_url import timeouts

# Whatever a Redis that is away, frozen, loading or refusing raises.
REDIS_ERRORS: Final = (RedisError, OSError, TimeoutError)

_COMMON: Final[dict[str, Any]] = {"protocol": 2, "decode_responses": False}


_REFUSALS: Final = (
    (AuthenticationError, "refuses the user or password", "correct REDIS_URL"),
    (
        NoPermissionError,
        "forbids what a node does",
        "grant its user the namespace's keys and channels, or correct REDIS_URL",
    ),
    (BusyLoadingError, "is loading its data", "it will answer by itself"),
)


def why_away(error: BaseException) -> str:
    """For /readyz: what Redis does instead of answering, and what mends that."""
    what, mend = "does not answer", "start it again"
    for kind, refusal, instead in _REFUSALS:
        if isinstance(error, kind):
            what, mend = refusal, instead
    if str(error).startswith(("NOAUTH", "Authentication required")):
        what, mend = "wants a password", "put it into REDIS_URL"
    return f"Redis {what} ({str(error) or type(error).__name__}); clients stay connected; {mend}"


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
