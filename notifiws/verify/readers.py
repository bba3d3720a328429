"""Two plainer ways to listen: a WebSocket without a subprotocol, one event a message, and pages over HTTP.

Neither is told `prev`; what they hear is held against what the others heard.
"""

import asyncio
import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final
from urllib.parse import quote

import httpx
import msgspec
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import ConnectionClosed, WebSocketException

from notifiws.verify.client import Listener, Said
from notifiws.verify.history import Asked, Ended, Place, Reset, Subscribed, place_of, written

_SECONDS: Final = 5.0
_POLL: Final = 0.4
_GONE: Final = 4410
_decode: Final = msgspec.json.Decoder(Said).decode


class _Page(msgspec.Struct):
    events: list[Said]
    position: str
    more: bool


_decode_page: Final = msgspec.json.Decoder(_Page).decode


class Reader(Listener):
    """One channel; where it begins is known from the first event alone."""

    gone = False
    asked_since: Place | None = None

    @property
    def channel(self) -> str:
        """Its one channel."""
        return self.channels[0]

    def ask(self, node: str) -> str:
        """Note the question; returns the query that resumes."""
        self.asked_since = self.places[self.channel]
        self.log.write(Asked(self.log.now, self.channel, self.asked_since, node))
        return "" if self.asked_since is None else f"&since={quote(written(self.asked_since))}"

    def answered(self) -> None:
        """The position was taken."""
        if self.asked_since is not None:
            place = self.asked_since
            self.log.write(Subscribed(self.log.now, self.channel, place, place, True, None))

    def take(self, events: Sequence[Said]) -> None:
        """Events in the order in which they came."""
        for place, of_tick in _ticks(events):
            if self.places[self.channel] is None:
                before = (place[0], place[1], of_tick[0].id - 1)
                if self.gone:
                    self.log.write(Reset(self.log.now, self.channel, before, "gone"))
                else:
                    self.log.write(Subscribed(self.log.now, self.channel, before, before, None, None))
                self.gone = False
            self.heard(self.channel, None, place, of_tick)
        self.changed.set()

    def lost_history(self) -> None:
        """The position can't be resumed any more: begin anew."""
        self.places[self.channel] = None
        self.gone = True


def _ticks(events: Sequence[Said]) -> Iterator[tuple[Place, list[Said]]]:
    """Runs of events of one tick, each with the place of its last."""
    placed = [(place_of(said.position), said) for said in events]
    for _, run in groupby(placed, key=lambda each: each[0][:2]):
        found = list(run)
        yield found[-1][0], [said for _, said in found]


class PlainClient(Reader):
    """`/ws/{channel}?format=event`."""

    async def run(self) -> None:
        """For ever."""
        while True:
            node = self.where()
            query = self.ask(node.name)
            why = "closed"
            try:
                async with connect_websocket(
                    f"{node.url.replace('http', 'ws', 1)}/ws/{self.channel}?format=event{query}",
                    compression=None,
                    max_size=None,
                    open_timeout=_SECONDS,
                    close_timeout=0.5,
                    ping_interval=_SECONDS,
                    ping_timeout=_SECONDS,
                    proxy=None,
                ) as connection:
                    answered = False
                    async for message in connection:
                        if not answered:
                            self.answered()
                            answered = True
                        self.take([_decode(message)])
            except ConnectionClosed as closed:
                why = f"closed with {closed.rcvd.code if closed.rcvd else 1006}"
                if closed.rcvd and closed.rcvd.code == _GONE:
                    self.lost_history()
            except (OSError, WebSocketException, TimeoutError) as error:
                why = f"{type(error).__name__}: {error}"
            self.log.write(Ended(self.log.now, why[:120]))
            await asyncio.sleep(0.1)


class PageReader(Reader):
    """`GET /channels/{channel}/events`, again and again."""

    async def run(self) -> None:
        """For ever."""
        while True:
            more = False
            try:
                # A connection of its own each time: the next page may come from another node.
                async with httpx.AsyncClient(timeout=_SECONDS, trust_env=False) as http:
                    more = await self._page(http)
            except (httpx.HTTPError, OSError, ValueError) as error:
                self.log.write(Ended(self.log.now, f"{type(error).__name__}: {error}"[:120]))
            if not more:
                await asyncio.sleep(_POLL)

    async def _page(self, http: httpx.AsyncClient) -> bool:
        node = self.where()
        since = self.places[self.channel]
        parameters = {"limit": "500"} if since is None else {"limit": "500", "since": written(since)}
        answer = await http.get(f"{node.url}/channels/{self.channel}/events", params=parameters)
        if answer.status_code == 410:
            self.ask(node.name)
            self.lost_history()
            return False
        if answer.status_code != 200:
            raise ConnectionError(f"HTTP {answer.status_code} {_code(answer.content)}")
        page = _decode_page(answer.content)
        if page.events:
            self.ask(node.name)
            self.answered()
            self.take(page.events)
        return page.more


def _code(body: bytes) -> Any:
    try:
        return json.loads(body)["error"]["code"]
    except (ValueError, KeyError, TypeError):
        return ""
