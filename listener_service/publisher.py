"""The Redis adapter: appends by one script call each, the mark of the last whole tick, and the leader's keys.

Every failure is RedisAway with its mend: the caller keeps its place and tries again, which the expected head makes
safe. The client library must not retry by itself, so that nothing happens behind the relay's back. It does connect anew
by itself, perhaps to another Redis or a restarted one: the scripts of `renew` are unknown to that, and it says so.
"""

import hashlib
import json
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from time import time
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
)

from listener_service.ports import Append, Mark, Outcome, RedisAway, RedisChanged, Tick
from shared.keys import Keys
from shared.position import Position
from shared.redis_url import timeouts

SCRIPT: Final = Path(__file__).with_name("publish.lua").read_text(encoding="utf-8")
DECLARE: Final = Path(__file__).with_name("declare.lua").read_text(encoding="utf-8")
# Of a stream that is being built from the log, should its leader die over it.
SEED_SECONDS: Final = 3600
SWAP: Final = Path(__file__).with_name("swap.lua").read_text(encoding="utf-8")
MARK: Final = Path(__file__).with_name("mark.lua").read_text(encoding="utf-8")


class _Scripts:
    """The scripts that write, under names which only the Redis that they were loaded into knows.

    Scripts are neither saved nor (since Redis 7) replicated. So whoever knows them has not been restarted since, and
    is no replica that was promoted. Loaded once: a second load might reach another Redis.
    """

    def __init__(self) -> None:
        name = secrets.token_hex(8)
        self.texts = tuple(f"-- {name}\n{text}" for text in (SCRIPT, MARK, SWAP))
        self.append, self.mark, self.swap = (
            hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest() for text in self.texts
        )


class RedisPublisher:
    """Publishes one epoch's log under one namespace."""

    def __init__(
        self,
        url: str,
        keys: Keys,
        *,
        max_age: float,
        max_bytes: int,
        now: Callable[[], float] = time,
    ) -> None:
        """`max_age` in seconds and `max_bytes` bound each channel's stream; the smaller wins."""
        self._redis: Redis = Redis.from_url(url, retry=Retry(NoBackoff(), 0), **timeouts(url))
        self._keys = keys
        self._limits = (str(round(max_age * 1000)), str(max_bytes))
        self._max_age = max_age
        self._now = now
        self._scripts = _Scripts()
        self._loaded = False
        self.epoch = ""

    async def begin(self) -> Mark | None:
        """See Publisher."""
        marked = await self.renew()
        await self.announce_epoch()
        return marked

    async def renew(self) -> Mark | None:
        """See Publisher."""
        if not self._loaded:
            scripts = _Scripts()
            for text in scripts.texts:
                await self._do("SCRIPT LOAD", text)
            self._scripts, self._loaded = scripts, True
        # Not before: what is lost between the two would show in neither.
        return await self.marked()

    async def append(self, appends: Sequence[Append]) -> list[Outcome]:
        """See Publisher."""
        answers = await self._append(appends)
        for answer in answers:
            if isinstance(answer, Exception):
                raise self._failed(answer) from answer
        return [Outcome(bool(written), Position.of_entry(self.epoch, head.decode())) for written, head in answers]

    async def _append(self, appends: Sequence[Append]) -> list[Any]:
        now = str(round(self._now() * 1000))
        calls = [self._call(append, now) for append in appends]
        redis: Any = self._redis
        try:
            if len(calls) == 1:  # the usual case when latency counts; the library's pipeline costs 0.3 ms more
                try:
                    return [await redis.execute_command(*calls[0])]
                except ResponseError as error:
                    return [error]
            pipeline: Any = redis.pipeline(transaction=False)
            for call in calls:
                pipeline.execute_command(*call)
            answers: list[Any] = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError) as error:
            raise self._failed(error) from error
        return answers

    def _call(self, append: Append, now: str) -> tuple[Any, ...]:
        stream = self._keys.stream(append.channel, self.epoch)
        sizes = self._keys.sizes(append.channel, self.epoch)
        head = (append.expected.entry_id, append.position.entry_id)
        return (
            "EVALSHA",
            self._scripts.append,
            2,
            stream,
            sizes,
            self._keys.live(append.channel),
            *head,
            append.data,
            now,
            *self._limits,
        )

    async def seed(self, name: str, tick: Tick, appends: Sequence[Append]) -> list[Outcome]:
        """See Seeds."""
        calls: list[tuple[Any, ...]] = []
        at = str(tick.cut_us // 1000)
        for append in appends:
            keys = self._keys.seeded(append.channel, self.epoch, name)
            head = (append.expected.entry_id, append.position.entry_id)
            calls.append(("EVALSHA", self._scripts.append, 2, *keys, "", *head, append.data, at, *self._limits))
            calls += [("EXPIRE", key, SEED_SECONDS) for key in keys]
        answers = (await self._pipeline(calls))[::3]
        return [Outcome(bool(written), Position.of_entry(self.epoch, head.decode())) for written, head in answers]

    async def swap(self, name: str, channels: Sequence[str]) -> list[int]:
        """See Seeds."""
        calls = []
        for channel in channels:
            stream, sizes = self._keys.stream(channel, self.epoch), self._keys.sizes(channel, self.epoch)
            seeded = self._keys.seeded(channel, self.epoch, name)
            calls.append(("EVALSHA", self._scripts.swap, 4, stream, sizes, *seeded))
        return await self._pipeline(calls)

    async def drop(self, name: str, channels: Sequence[str]) -> None:
        """See Seeds."""
        await self._pipeline([("DEL", *self._keys.seeded(channel, self.epoch, name)) for channel in channels])

    @property
    def window(self) -> float:
        """Seconds for which streams keep what was published."""
        return self._max_age

    async def _pipeline(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        pipeline: Any = self._redis.pipeline(transaction=False)
        for call in calls:
            pipeline.execute_command(*call)
        try:
            answers: list[Any] = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError) as error:
            raise self._failed(error) from error
        for answer in answers:
            if isinstance(answer, Exception):
                raise self._failed(answer) from answer
        return answers

    async def mark(self, mark: Mark, *, after: int = 0, mended: bool = False) -> None:
        """See Publisher."""
        told = (self.epoch, str(mark.tick), str(mark.floor), str(int(mended)), str(after))
        if await self._do("EVALSHA", self._scripts.mark, "1", self._keys.published, *told) == b"LOST":
            raise RedisChanged("Redis was emptied meanwhile")

    async def marked(self) -> Mark | None:
        """See Publisher."""
        value = await self._do("GET", self._keys.published)
        epoch, tick, floor = value.decode().split(":") if value else ("", "0", "0")
        return Mark(int(tick), int(floor)) if epoch == self.epoch else None

    async def probe(self) -> None:
        """See Publisher."""
        await self._do("SET", self._keys.relay_probe, self.epoch, "EX", "60")

    async def last_beat(self) -> bytes | None:
        """The heartbeat that was shown last, by whoever leads."""
        value: bytes | None = await self._do("GET", self._keys.relay)
        return value

    async def announce_epoch(self) -> None:
        """Tell the nodes which epoch's streams are valid. Before anything of it is published."""
        await self._do("SET", self._keys.epoch, self.epoch)

    async def declare(self, channels: Sequence[str]) -> None:
        """Tell the nodes the declared channels."""
        await self._do("SET", self._keys.channels, json.dumps(channels))

    async def declare_live_queries(self, term: int, channels: Sequence[str]) -> None:
        """Tell the nodes which channels carry a live query, unless a later leader of this epoch has."""
        said = json.dumps({"epoch": self.epoch, "term": term, "channels": list(channels)})
        await self._do("EVAL", DECLARE, "1", self._keys.live_queries, str(term), said)

    async def without_stream(self, channels: Sequence[str]) -> set[str]:
        """Those of them of which Redis has no event in this epoch."""
        found = [await self._do("EXISTS", self._keys.stream(channel, self.epoch)) for channel in channels]
        return {channel for channel, there in zip(channels, found, strict=True) if not there}

    async def declared(self) -> list[str]:
        """What was last declared here."""
        value = await self._do("GET", self._keys.channels)
        return list(json.loads(value)) if value else []

    async def beat(self, heartbeat: dict[str, object]) -> None:
        """The leader's heartbeat, to read and to hear."""
        text = json.dumps(heartbeat)
        calls: Any = self._redis.pipeline(transaction=False)
        calls.execute_command("SET", self._keys.relay, text)
        calls.execute_command("PUBLISH", self._keys.relay, text)
        try:
            await calls.execute()
        except (RedisError, OSError) as error:
            raise _away(error) from error

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()

    async def _do(self, *command: str) -> Any:
        try:
            redis: Any = self._redis
            return await redis.execute_command(*command)
        except (RedisError, OSError) as error:
            raise self._failed(error) from error

    def _failed(self, error: BaseException) -> RedisAway:
        if isinstance(error, NoScriptError):
            self._loaded = False
        return _away(error)


_MENDS: Final = (
    (AuthenticationError, "Redis refuses the user or password; mend REDIS_URL"),
    (NoPermissionError, "Redis' ACL forbids what the relay does; grant it the namespace's keys and channels"),
    (ReadOnlyError, "Redis is a read-only replica; point REDIS_URL at the primary"),
    (BusyLoadingError, "Redis is loading its data; it will answer by itself"),
    (TimeoutError, "Redis does not answer in time; it is frozen, overloaded or cut off"),
)
_MENDS_BY_WORD: Final = (
    ("OOM", "Redis is out of memory; raise its maxmemory or lower NOTIFIWS_HISTORY_BYTES"),
    ("NOAUTH", "Redis wants a password; put it into REDIS_URL"),
    ("WRONGPASS", "Redis refuses the user or password; mend REDIS_URL"),
    ("MISCONF", "Redis refuses writes because it cannot save its data; mend its disk"),
    ("LOADING", "Redis is loading its data; it will answer by itself"),
    ("READONLY", "Redis is a read-only replica; point REDIS_URL at the primary"),
    ("MASTERDOWN", "Redis is a replica without its primary; point REDIS_URL at the primary"),
    ("BUSY", "Redis runs somebody's endless script; SCRIPT KILL ends it"),
)


def _away(error: BaseException) -> RedisAway:
    if isinstance(error, NoScriptError):
        return RedisChanged("Redis was restarted, or another one has taken its place, or somebody flushed its scripts")
    for kind, mend in _MENDS:
        if isinstance(error, kind):
            return RedisAway(f"{mend} ({error})")
    if isinstance(error, ResponseError):
        # redis-py takes some codes off the text and leaves others.
        text = "OOM" if "maxmemory" in str(error) else str(error)
        for word, mend in _MENDS_BY_WORD:
            if text.startswith(word):
                return RedisAway(f"{mend} ({error})")
        return RedisAway(f"Redis refuses: {error}")
    return RedisAway(f"Redis is not reached; start it, or mend REDIS_URL ({error})")
