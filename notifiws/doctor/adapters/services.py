"""Asks listeners and nodes what they say of themselves, all at the same time. Nothing here raises."""

import asyncio
import json
from collections.abc import Sequence
from typing import Final

from notifiws.doctor.facts import Service
from notifiws.stack.directory import StackState
from notifiws.stack.probe import http_get, readyz

SECONDS: Final = 3.0


async def gather(state: StackState | None, urls: Sequence[str]) -> list[Service]:
    """The parts of a running stack, and what listens at `urls`."""
    asked = [(part["name"], str(part["url"])) for part in (state["parts"] if state else ()) if part["url"]]
    asked += [(url.rstrip("/"), url.rstrip("/")) for url in urls]
    return list(await asyncio.gather(*(_ask(name, url) for name, url in asked)))


async def _ask(name: str, url: str) -> Service:
    answer = await readyz(url, SECONDS)
    role = answer.body.get("role")
    version = answer.body.get("version")
    return Service(
        name,
        url,
        ready=answer.ready,
        role=str(role) if role else None,
        reasons=answer.reasons,
        warnings=[each for each in answer.body.get("warnings") or () if isinstance(each, dict)],
        version=str(version) if version else None,
        # A listener has no channels to list, and what does not answer is not asked twice.
        open=None if role or "ready" not in answer.body else await _open(url),
    )


async def _open(url: str) -> bool | None:
    """Whether a node lists its channels to somebody without a credential. None: it did not say."""
    try:
        status, body = await http_get(f"{url}/channels", SECONDS)
        return "channels" in json.loads(body) if status == 200 else False if status == 401 else None
    except (OSError, ValueError, TimeoutError):
        return None
