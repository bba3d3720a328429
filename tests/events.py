"""A reader of server-sent events, by the rules of the format, over a raw HTTP answer."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass
class Sent:
    """One server-sent event. `id` is that of this event's own block."""

    event: str
    data: str
    id: str | None
    retry: str | None

    @property
    def json(self) -> dict[str, Any]:
        """Its data."""
        document: dict[str, Any] = json.loads(self.data)
        return document


class Events:
    """What comes on one answer."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.headers = answer.headers
        self.comments = 0
        self._lines = self._split()

    async def next(self, seconds: float = 10) -> Sent:
        """The next event. Raises StopAsyncIteration at the end."""
        fields: dict[str, list[str]] = {}
        async with asyncio.timeout(seconds):
            async for line in self._lines:
                if line.startswith(":"):
                    self.comments += 1
                elif line:
                    name, _, value = line.partition(":")
                    fields.setdefault(name, []).append(value.removeprefix(" "))
                elif fields:
                    only = {name: values[-1] for name, values in fields.items()}
                    return Sent(only["event"], "\n".join(fields["data"]), only.get("id"), only.get("retry"))
            raise StopAsyncIteration

    async def several(self, count: int) -> list[Sent]:
        """The next ones."""
        return [await self.next() for _ in range(count)]

    async def _split(self) -> AsyncIterator[str]:
        # httpx' own lines also end where this format's do not.
        rest = b""
        async for chunk in self.answer.aiter_bytes():
            *lines, rest = re.split(rb"\r\n|\r|\n", rest + chunk)
            for line in lines:
                yield line.decode()


@contextlib.asynccontextmanager
async def events(url: str, **headers: str) -> AsyncIterator[Events]:
    """Open a stream."""
    async with httpx.AsyncClient(timeout=None) as client, client.stream("GET", url, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        yield Events(answer)
