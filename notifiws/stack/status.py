"""What runs in a data directory, as `notifiws status` says it: asked of the parts themselves, at the same time."""

import asyncio
import json
from typing import Any

from notifiws.stack.directory import DataDirectory, PartState, StackState
from notifiws.stack.probe import Readyz, readyz

# The whole answer comes within half a second, whatever the parts do.
TIMEOUT = 0.35


async def status(directory: DataDirectory) -> dict[str, Any] | None:
    """The contract's `status --json` object, None when nothing runs there."""
    state = directory.running()
    if state is None:
        # Held, but its state not written yet: it is being born.
        return _unborn(directory) if directory.held() else None
    parts = state["parts"]
    asked = [part for part in parts if part["url"]]
    heartbeat, *answers = await asyncio.gather(_heartbeat(state), *(_ask(part) for part in asked))
    services = {part["name"]: _service(part, answer) for part, answer in zip(asked, answers, strict=True)}
    listeners = [services[part["name"]] for part in asked if part["kind"] == "listener"]
    nodes = [services[part["name"]] for part in asked if part["kind"] == "node"]
    servers: dict[str, Any] = {str(part["kind"]): {"pid": part["pid"]} for part in parts if part["url"] is None}
    well = all(part["pid"] for part in parts) and all(service["ready"] for service in services.values())
    return {
        "state": _state(state["phase"], well),
        "version": state["version"],
        "url": state["url"],
        "ws_url": state["url"].replace("http", "ws", 1),
        "database_url": state["database_url"],
        "redis_url": state["redis_url"],
        "data_dir": state["data_dir"],
        "pid": state["pid"],
        "epoch": heartbeat.get("epoch"),
        "lag_seconds": heartbeat.get("lag_seconds"),
        "listener": listeners[0] if listeners else None,
        "listeners": listeners,
        "nodes": nodes,
        "dashboard": state["dashboard"],
        **servers,
    }


def _state(phase: str, well: bool) -> str:
    if phase == "stopping":
        return "stopping"
    if well:
        return "ready"
    return "starting" if phase == "starting" else "degraded"


async def _ask(part: PartState) -> Readyz:
    if part["pid"] is None:
        how = "it is being started again" if part["launches"] else "it is started once the servers are there"
        down = {"code": "down", "message": f"{part['name']} is not running; {how}"}
        return Readyz(None, {"reasons": [down]})
    return await readyz(str(part["url"]), TIMEOUT)


def _service(part: PartState, answer: Readyz) -> dict[str, Any]:
    service: dict[str, Any] = {
        "pid": part["pid"],
        "url": part["url"],
        "ready": answer.ready,
        "reasons": answer.reasons,
        "restarts": max(0, part["launches"] - 1),
    }
    if part["kind"] == "listener":
        service["leader"] = answer.body.get("role") == "leader"
    return service


async def _heartbeat(state: StackState) -> dict[str, Any]:
    """The leader's last word in Redis: epoch and lag. Empty when there is none, or Redis is away."""
    import redis.asyncio as redis

    from shared.keys import Keys

    try:
        async with asyncio.timeout(TIMEOUT):
            async with redis.Redis.from_url(state["redis_url"]) as client:
                beat = json.loads(await client.get(Keys(state["namespace"]).relay) or "{}")
                return beat if isinstance(beat, dict) else {}
    except (redis.RedisError, OSError, ValueError, TimeoutError):
        return {}


def _unborn(directory: DataDirectory) -> dict[str, Any]:
    nothing = ("version", "url", "ws_url", "database_url", "redis_url", "pid", "epoch", "lag_seconds", "listener")
    return {
        "state": "starting",
        **dict.fromkeys(nothing),
        "data_dir": str(directory.path),
        "listeners": [],
        "nodes": [],
    }
