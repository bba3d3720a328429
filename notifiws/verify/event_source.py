"""Server-sent events as `EventSource` takes them: it comes back by itself, with the last `id:` it saw."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import httpx
import msgspec

from notifiws.verify.client import Said
from notifiws.verify.history import Ended, Reset, Subscribed, place_of, written
from notifiws.verify.readers import Reader

_CONNECT_SECONDS: Final = 5.0
# A comment comes every 15 s; whoever hears less stands before a half-open connection.
_SILENCE_SECONDS: Final = 20.0


class _Told(msgspec.Struct):
    """`subscribed` and `reset`."""

    position: str
    head: str = ""
    recovered: bool | None = None
    reason: str | None = None


_decode_event: Final = msgspec.json.Decoder(Said).decode
_decode_told: Final = msgspec.json.Decoder(_Told).decode


class EventSource(Reader):
    """`GET /sse/{channel}`."""

    async def run(self) -> None:
        """For ever."""
        timeout = httpx.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS)
        while True:
            why = "ended"
            try:
                async with httpx.AsyncClient(timeout=timeout, trust_env=False) as http:
                    await self._follow(http)
            except (httpx.HTTPError, OSError) as error:
                why = f"{type(error).__name__}: {error}"
            self.log.write(Ended(self.log.now, why[:120]))
            await asyncio.sleep(0.1)

    async def _follow(self, http: httpx.AsyncClient) -> None:
        node = self.where()
        self.ask(node.name)
        headers = {} if self.asked_since is None else {"Last-Event-ID": written(self.asked_since)}
        async with http.stream("GET", f"{node.url}/sse/{self.channel}", headers=headers) as answer:
            if answer.status_code != 200:
                raise ConnectionError(f"HTTP {answer.status_code}")
            async for kind, data in _events(answer.aiter_lines()):
                self._take_event(kind, data)

    def _take_event(self, kind: str, data: str) -> None:
        match kind:
            case "message":
                self.take([_decode_event(data)])
            case "subscribed":
                told = _decode_told(data)
                place, head = place_of(told.position), place_of(told.head)
                self.log.write(Subscribed(self.log.now, self.channel, place, head, told.recovered, told.reason))
                self.places[self.channel] = place
            case "reset":
                told = _decode_told(data)
                place = place_of(told.position)
                self.log.write(Reset(self.log.now, self.channel, place, told.reason or ""))
                self.places[self.channel] = place
            case _:
                pass


async def _events(lines: AsyncIterator[str]) -> AsyncIterator[tuple[str, str]]:
    """Kind and data of each event that is whole; what a cut left unfinished is none."""
    kind, data = "message", ""
    async for line in lines:
        name, _, value = line.partition(":")
        match name:
            case "event":
                kind = value.strip()
            case "data":
                data += value.removeprefix(" ")
            case "" if not line:
                if data:
                    yield kind, data
                kind, data = "message", ""
            case _:
                pass
