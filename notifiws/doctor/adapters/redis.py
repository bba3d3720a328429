"""Gathers what Redis or Valkey can say. Nothing here raises, nothing is written: what we may do is asked of its ACL.

Managed servers often forbid INFO, CONFIG or TIME; what they would have said stays None, and `unchecked` names it.
"""

import asyncio
import json
from time import time
from typing import Any, Final
from urllib.parse import urlsplit

from redis.asyncio import Redis as Client
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,
    RedisError,
    ResponseError,
    TimeoutError,
)

from notifiws.doctor.adapters.postgres import where
from notifiws.doctor.adapters.secrets import scrub
from notifiws.doctor.facts import Redis, Unchecked
from shared.keys import Keys
from shared.redis_url import timeouts
from ws_service.redis_link import why_away

# The leader beats every second.
SILENT_SECONDS: Final = 5.0
AGAIN_SECONDS: Final = 1.5
AWAY: Final = (ConnectionError, TimeoutError, AuthenticationError, BusyLoadingError, OSError)
# What listener and nodes run, each with arguments that name a key or a pub/sub channel of the namespace where it takes
# one. EVAL itself is found out by asking.
_COMMANDS: Final = (
    "EVALSHA|0|1|{key}", "SCRIPT|LOAD|return 1", "GET|{key}", "SET|{key}|0", "DEL|{key}", "EXISTS|{key}",
    "XADD|{key}|*|p|0", "XTRIM|{key}|MINID|0", "XRANGE|{key}|-|+", "XREVRANGE|{key}|+|-", "RPUSH|{key}|0",
    "LINDEX|{key}|0", "LRANGE|{key}|0|0", "LTRIM|{key}|0|0",
    "RENAME|{key}|{key}", "EXPIRE|{key}|1", "PERSIST|{key}",
    "PUBLISH|{live}|0", "SUBSCRIBE|{live}", "UNSUBSCRIBE|{live}", "PING",
)  # fmt: skip
# Answers those that the present user may not run. redis.acl_check_cmd came with Redis 7.
_ASK: Final = """
if not redis.acl_check_cmd then return redis.error_reply('too old to be asked') end
local refused = {}
for _, line in ipairs(ARGV) do
  local words = {}
  for word in string.gmatch(line, '[^|]+') do words[#words + 1] = word end
  local known, may = pcall(redis.acl_check_cmd, unpack(words))
  if known and not may then refused[#refused + 1] = words[1] end
end
return refused
"""


async def gather(url: str, namespace: str) -> dict[str, Any]:
    """Fields of Facts that Redis can tell."""
    client = Client.from_url(url, retry=Retry(NoBackoff(), 0), **timeouts(url))
    inquiry = _Inquiry(client, url)
    try:
        try:
            await inquiry.ask("PING")
        except AWAY as error:
            said = scrub(why_away(error), url)
            return {"redis_away": f"{where(url)}: {said.replace('; clients stay connected', '')}"}
        except ResponseError:
            pass  # may not PING: what matters is asked below
        redis = await _about(inquiry, Keys(namespace), url)
        return {"redis": redis, "unchecked": inquiry.unchecked}
    except AWAY as error:
        return {"redis_away": f"{where(url)}: {scrub(str(error), url)}", "unchecked": inquiry.unchecked}
    finally:
        await client.aclose()


class _Inquiry:
    def __init__(self, client: "Client", url: str) -> None:
        self._client: Any = client
        self._url = url
        self.unchecked: list[Unchecked] = []

    async def ask(self, *command: str) -> Any:
        """Raises AWAY and RedisError."""
        return await self._client.execute_command(*command)

    async def may_ask(self, subject: str, *command: str) -> Any:
        """None, and a word in `unchecked`, when it is refused. Raises AWAY."""
        try:
            return await self.ask(*command)
        except AWAY:
            raise
        except RedisError as error:
            # Redis repeats the words it was given after a comma.
            self.unchecked.append(Unchecked(f"redis: {subject}", scrub(str(error).partition(",")[0], self._url)))
            return None

    async def config(self, *names: str) -> dict[str, str]:
        """Settings by name, empty when they are not to be had. Raises AWAY."""
        found: dict[str, str] = {}
        for name in names:
            answer = await self.may_ask(f"CONFIG ({', '.join(names)})", "CONFIG", "GET", name)
            if answer is None:
                break  # the others are as forbidden as the first
            found |= {str(_text(key)): str(_text(value)) for key, value in answer.items()}
        return found


async def _about(inquiry: _Inquiry, keys: Keys, url: str) -> Redis:
    info: dict[str, Any] = await inquiry.may_ask("INFO", "INFO") or {}
    asked = time()
    clock = await inquiry.may_ask("TIME", "TIME")
    answered = time()
    beat, beat_age = await _heartbeat(inquiry, keys)
    user = await inquiry.may_ask("user", "ACL", "WHOAMI")
    config = await inquiry.config("save", "client-output-buffer-limit", "proto-max-bulk-len")
    epoch = await inquiry.may_ask("epoch", "GET", keys.epoch)
    return Redis(
        where=where(url),
        product="Valkey" if "valkey_version" in info else "Redis",
        version=str(info.get("valkey_version") or info.get("redis_version") or "unknown"),
        cluster=str(info.get("cluster_enabled", "0")) == "1" and "cluster=true" not in urlsplit(url).query,
        role=str(info.get("role", "master")),
        maxmemory=_number(info.get("maxmemory")),
        used_memory=_number(info.get("used_memory")),
        policy=info.get("maxmemory_policy"),
        aof=None if "aof_enabled" not in info else str(info["aof_enabled"]) == "1",
        save=config.get("save"),
        cannot_save=_cannot_save(info),
        pubsub_limit=_pubsub_limit(config.get("client-output-buffer-limit")),
        bulk_limit=_number(config.get("proto-max-bulk-len")),
        refused=await _refused(inquiry, keys),
        user=_text(user) or urlsplit(url).username or "default",
        skew=_skew(clock, asked, answered),
        epoch=_text(epoch),
        beat=beat,
        beat_age=beat_age,
        mark=_mark(await inquiry.may_ask("mark", "GET", keys.published)),
    )


async def _heartbeat(inquiry: _Inquiry, keys: Keys) -> tuple[dict[str, Any] | None, float | None]:
    """What the leader said last, and how long ago. One that seems old may come from a clock that is: heard again?"""
    raw = await inquiry.may_ask("heartbeat", "GET", keys.relay)
    if (beat := _beat(raw)) is None:
        return None, None
    age = abs(time() - float(beat.get("at_ms") or 0) / 1000)
    if age > SILENT_SECONDS:
        await asyncio.sleep(AGAIN_SECONDS)
        again = await inquiry.may_ask("heartbeat", "GET", keys.relay)
        if again != raw and (newer := _beat(again)) is not None:
            return newer, 0.0
    return beat, age


async def _refused(inquiry: _Inquiry, keys: Keys) -> list[str] | None:
    key, live = keys.stream("doctor", "doctor"), keys.live("doctor")
    lines = [command.format(key=key, live=live) for command in _COMMANDS]
    try:
        answer = await inquiry.ask("EVAL", _ASK, "1", key, *lines)
    except AWAY:
        raise
    except RedisError as error:
        # redis-py takes the code off the text.
        if "permissions" in str(error) or str(error).startswith("NOPERM"):
            return ["EVAL"]
        inquiry.unchecked.append(Unchecked("redis: what our user may do", str(error)))
        return None
    return sorted({_text(name) or "" for name in answer})


def _cannot_save(info: dict[str, Any]) -> str | None:
    if info.get("aof_last_write_status", "ok") != "ok":
        return "its last write to the append-only file failed"
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        return "its last snapshot to disk failed"
    return None


def _beat(raw: Any) -> dict[str, Any] | None:
    try:
        beat = json.loads(raw) if raw else None
    except ValueError:
        return None
    return beat if isinstance(beat, dict) else None


def _mark(raw: Any) -> tuple[str, int] | None:
    words = (_text(raw) or "").split(":")
    return (words[0], int(words[1])) if len(words) == 3 and words[1].isdigit() else None


def _pubsub_limit(text: str | None) -> tuple[int, int, int] | None:
    """From `normal 0 0 0 … pubsub 33554432 8388608 60`."""
    words = (text or "").split()
    if "pubsub" not in words:
        return None
    hard, soft, seconds = words[words.index("pubsub") + 1 :][:3]
    return int(hard), int(soft), int(seconds)


def _skew(clock: Any, asked: float, answered: float) -> float:
    if not clock:
        return 0.0
    at = int(clock[0]) + int(clock[1]) / 1e6
    return at - answered if at > answered else at - asked if at < asked else 0.0


def _number(value: Any) -> int | None:
    text = _text(value)
    return int(text) if text is not None and text.isdigit() else None


def _text(value: Any) -> str | None:
    return None if value is None else value.decode(errors="replace") if isinstance(value, bytes) else str(value)
