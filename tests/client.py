"""A `notifiws.v1` client as the contract describes one: it applies frames, remembers its position and resumes with it.

It checks the gap rule on every frame, so that a test that uses it fails on a silent gap and not only on a count.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException


def order(position: str) -> tuple[int, int]:
    """The sort key of a position inside its epoch."""
    tick, event = position.partition(":")[2].split("-")
    return int(tick), int(event)


class Client:
    """Keeps `events` in the order in which they were applied. `url` may be a function, to move between nodes."""

    def __init__(self, url: str | Callable[[], str], channel: str, **subscribe: Any) -> None:
        self.url = url if callable(url) else lambda: url
        self.channel = channel
        self.subscribe = subscribe
        self.events: list[dict[str, Any]] = []
        self.position: str | None = None
        self.live = asyncio.Event()
        self.changed = asyncio.Event()
        self.subscribed: list[dict[str, Any]] = []
        self.resets: list[dict[str, Any]] = []
        self.faults: list[str] = []
        self.closes: list[int | None] = []
        self.connection: ClientConnection | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        await self.wait(lambda: self.live.is_set() or self._task.done())
        if self._task.done():
            self._task.result()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def wait(self, condition: Callable[[], object], seconds: float = 30) -> None:
        """Wait until `condition` holds; it is looked at after every frame."""
        async with asyncio.timeout(seconds):
            while not condition():
                self.changed.clear()
                if not condition():
                    await self.changed.wait()

    async def received(self, count: int, seconds: float = 60) -> None:
        """Wait until `count` events were applied; says how many there were."""
        try:
            await self.wait(lambda: len(self.events) >= count, seconds)
        except TimeoutError:
            raise AssertionError(
                f"{len(self.events)} of {count} events after {seconds} s; closes {self.closes}"
            ) from None

    def drop(self) -> None:
        """Cut the connection without a word, as a train in a tunnel does."""
        if self.connection is not None:
            self.connection.transport.abort()

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(OSError, WebSocketException, TimeoutError):
                async with connect(
                    self.url() + "/ws", subprotocols=["notifiws.v1"], max_size=None, open_timeout=5, compression=None
                ) as self.connection:
                    frame = {"type": "subscribe", "id": 1, "channel": self.channel, **self.subscribe}
                    if self.position is not None:
                        frame = {"type": "subscribe", "id": 1, "channel": self.channel, "since": self.position}
                    await self.connection.send(json.dumps(frame))
                    async for message in self.connection:
                        self._apply(json.loads(message, parse_float=str))
                        self.changed.set()
            self.live.clear()
            if self.connection is not None:
                self.closes.append(self.connection.close_code)
            self.connection = None
            await asyncio.sleep(0.05)

    def _apply(self, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "subscribed":
                self.subscribed.append(frame)
                if self.position is not None and not frame["recovered"]:
                    self.resets.append(frame)
                self.position = frame["position"]
                self.live.set()
            case "events":
                if order(frame["prev"]) > order(self.position or frame["prev"]):
                    self.faults.append(f"gap: at {self.position}, frame begins after {frame['prev']}")
                ids = [event["id"] for event in frame["events"]]
                if ids != sorted(ids):
                    self.faults.append(f"ids out of order in one frame: {ids}")
                self.events += frame["events"]
                self.position = frame["position"]
            case "reset":
                self.resets.append(frame)
                self.position = frame["position"]
            case "error":
                self.faults.append(f"error frame: {frame}")
