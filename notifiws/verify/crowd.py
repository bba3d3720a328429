"""The clients: some stay, some come and go and resume elsewhere, some are new all the time, some ask for one event.

Who they are and when they do what comes from the seed. Each is a task; `steady` ones measure recoveries.
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from itertools import count
from random import Random
from typing import Any, Final

from notifiws.verify.client import Client, Listener, Node, running
from notifiws.verify.event_source import EventSource
from notifiws.verify.history import Who
from notifiws.verify.readers import PageReader, PlainClient
from notifiws.verify.spool import Spool
from notifiws.verify.statements import CHANNELS, SAYS
from notifiws.verify.workload import Speaker

_CHANNELS: Final = (*CHANNELS.values(), SAYS)
# A node follows a channel for 10 s after its last subscriber: these come round later than that.
_KNOCKS: Final = 64
_KNOCKERS: Final = 2


class Crowd:
    """All clients of a run."""

    def __init__(
        self, spool: Spool, nodes: list[Node], database_url: str, clients: int, seed: int, *, patience: float
    ) -> None:
        """`patience`: within so many seconds what was committed after `subscribed` arrives, or it is lost."""
        self._spool = spool
        self._nodes = nodes
        self._seed = seed
        self._url = database_url
        self._patience = patience
        self._tasks: list[asyncio.Task[None]] = []
        self._guests: list[asyncio.Task[None]] = []
        self._leaving = asyncio.Event()
        self.steady = [self._client(f"steady {n}", steady=True) for n in range(1, max(1, clients // 2) + 1)]
        self.wanderers = [self._client(f"wanderer {n}") for n in range(1, clients - len(self.steady) + 1)]
        self.readers: list[PlainClient | PageReader | EventSource] = [
            PlainClient(self._log("plain 1", "plain"), self._where("plain 1"), [CHANNELS["alpha"]]),
            PageReader(self._log("pages 1", "http"), self._where("pages 1"), [CHANNELS["beta"]]),
            EventSource(self._log("sse 1", "sse"), self._where("sse 1"), [CHANNELS["alpha"]]),
        ]

    @property
    def staying(self) -> list[Listener]:
        """Those that have to hear everything to the end."""
        return [*self.steady, *self.wanderers, *self.readers]

    @property
    def connected(self) -> int:
        """How many of those that can say so are live."""
        return sum(client.live.is_set() for client in (*self.steady, *self.wanderers))

    async def arrive(self, seconds: float = 60.0) -> None:
        """Start those that stay, and wait until they are live. Raises TimeoutError."""
        staying: list[Coroutine[Any, Any, None]] = [each.run() for each in (*self.steady, *self.wanderers)]
        staying += [reader.run() for reader in self.readers]
        self._tasks = [asyncio.create_task(run) for run in staying]
        async with asyncio.timeout(seconds):
            for client in (*self.steady, *self.wanderers):
                await client.live.wait()

    def mingle(self) -> None:
        """From now on they come and go."""
        moves = [self._wander(client) for client in self.wanderers]
        moves += [self._newcomers(), *(self._knock(number) for number in range(1, _KNOCKERS + 1))]
        self._guests = [asyncio.create_task(move) for move in moves]

    async def settle(self) -> None:
        """Nobody comes or goes any more; who is away comes back. Guests hear what they wait for first."""
        self._leaving.set()
        await asyncio.gather(*self._guests, return_exceptions=True)

    async def hear(self, stamps: dict[str, int], seconds: float) -> bool:
        """Whether everyone who stays hears these last changes, by channel."""
        waits = [
            client.wait(channel, stamp, seconds)
            for client in self.staying
            for channel, stamp in stamps.items()
            if channel in client.channels
        ]
        return all(await asyncio.gather(*waits))

    async def leave(self) -> None:
        """End all."""
        tasks = [*self._tasks, *self._guests]
        for task in tasks:
            task.cancel()
        failed = [each for each in await asyncio.gather(*tasks, return_exceptions=True) if isinstance(each, Exception)]
        if failed:
            raise failed[0]

    # Kinds

    async def _wander(self, client: Client) -> None:
        chance = Random(f"{self._seed} moves of {client.log.who.name}")
        try:
            while await self._pause(chance.uniform(0.5, 5)):
                client.wanted.clear()
                client.drop()
                # Mostly right back; now and then away for long.
                if chance.random() < 0.3:
                    await self._pause(chance.uniform(0.5, 12))
                if chance.random() < 0.3:
                    client.step_back()
                client.wanted.set()
        finally:
            client.wanted.set()

    async def _newcomers(self) -> None:
        """One after the other: new, without a position or going back a little, and gone again."""
        chance = Random(f"{self._seed} newcomers")
        for number in count(1):
            rewind: int | str | None = chance.choice((None, None, 1, 7, 100, "2s"))
            client = self._client(f"newcomer {number}", rewind=rewind)
            async with running(client):
                if not await self._pause(chance.uniform(0.5, 4)):
                    return

    async def _knock(self, knocker: int) -> None:
        """A channel that nobody follows: subscribe, and the moment that it stands, events are committed.

        They must come: `subscribed` is sent only once no later event can be missed.
        """
        chance = Random(f"{self._seed} knocker {knocker}")
        speaker = Speaker(self._url, self._spool, f"knocker {knocker}")
        try:
            for number in count(1):
                channel = f"notifiws-verify.knock-{knocker}-{number % _KNOCKS}"
                client = self._client(f"knocker {knocker}-{number}", [channel])
                async with running(client):
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self._patience):
                            await client.live.wait()
                    if client.live.is_set():
                        stamps = [await speaker.say(channel) for _ in range(chance.randint(1, 4))]
                        await asyncio.gather(*(client.wait(channel, stamp, self._patience) for stamp in stamps))
                if not await self._pause(chance.uniform(0.05, 0.3)):
                    return
        finally:
            speaker.close()

    async def _pause(self, seconds: float) -> bool:
        """Whether to go on afterwards."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._leaving.wait()
        return not self._leaving.is_set()

    # Made

    def _client(
        self, name: str, channels: list[str] | None = None, *, steady: bool = False, rewind: int | str | None = None
    ) -> Client:
        return Client(
            self._log(name, "v1", steady=steady),
            self._where(name),
            channels or list(_CHANNELS),
            Random(f"{self._seed} {name}"),
            rewind=rewind,
        )

    def _log(self, name: str, way: str, *, steady: bool = False) -> Any:
        return self._spool.client(Who(name, way, steady))

    def _where(self, name: str) -> Any:
        """Any node, another one each time: there is no stickiness."""
        chance = Random(f"{self._seed} nodes of {name}")
        return lambda: chance.choice(self._nodes)
