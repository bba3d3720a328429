"""The node's one pub/sub connection: every break is known, every confirmation is passed on, deafness is noticed.

redis-py's own PubSub reconnects and resubscribes in silence, so this drives a bare connection. Who missed what is the
broker's concern; here: connect, subscribe what is wanted, pass messages on, and prove by messages of our own through
the same connection that it still hears.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Any, Final

from redis.asyncio import Redis

from shared.backoff import backoff
from shared.codes import Unready
from shared.logs import logger
from shared.readiness import Readiness
from shared.tasks import until_one_ends
from ws_service.metrics import NodeMetrics
from ws_service.redis_link import REDIS_ERRORS, lone_connection, why_away

PROBE_SECONDS: Final = 2.0
_FIRST_PROBE_SECONDS: Final = 0.1  # until a new connection is heard through
# Three probes unheard; with the time to see it still within the 10 s of guarantee G4.
DEAF_SECONDS: Final = 6.0
_NAMES_A_COMMAND: Final = 256


class Deaf(Exception):
    """The connection is open, and our own messages do not come through it."""


class Topic:
    """One pub/sub channel that the node wants: what to do with its messages, confirmations, and a lost connection."""

    __slots__ = ("confirmed", "lost", "message", "name")

    def __init__(
        self,
        name: str,
        message: Callable[[bytes], None],
        confirmed: Callable[[], None] = lambda: None,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.message = message
        self.confirmed = confirmed
        self.lost = lost


class PubSub:
    """Run it as a task. `follow` and `forget` may be called at any time, connected or not."""

    def __init__(self, url: str, prober: Redis, probe: str, *, readiness: Readiness, metrics: NodeMetrics) -> None:
        self._url = url
        self._prober = prober
        self._readiness = readiness
        self._metrics = metrics
        self._log = logger("pubsub")
        self._topics: dict[bytes, Topic] = {}
        self._outgoing: dict[bytes, bytes] = {}  # name → command, the last one counts
        self._wake = asyncio.Event()
        self._heard = 0.0
        self._probe = probe
        # Numbers of our own messages: the last one sent, and heard; who waits for which.
        self._sent = self._returned = 0
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        # Whether a message of our own was ever heard; called for each one.
        self.proven = self._hearing = False
        self.on_probe: Callable[[], None] = lambda: None
        self.follow(Topic(probe, self._on_probe))

    def follow(self, topic: Topic) -> None:
        """Subscribe, now and after every reconnect, until `forget`."""
        name = topic.name.encode()
        self._topics[name] = topic
        self._outgoing[name] = b"SUBSCRIBE"
        self._wake.set()

    def forget(self, topic: Topic) -> None:
        """Unsubscribe."""
        name = topic.name.encode()
        if self._topics.get(name) is topic:
            del self._topics[name]
            self._outgoing[name] = b"UNSUBSCRIBE"
            self._wake.set()

    async def run(self) -> None:
        """Hold the connection for ever; returns only by cancellation."""
        attempt = 0
        while True:
            begun = asyncio.get_running_loop().time()
            try:
                await self._hold()
            except REDIS_ERRORS as error:
                self._away(error)
            except Deaf:
                self._readiness.unready(
                    Unready.DEAF, f"own messages unheard for {DEAF_SECONDS:g} s; the subscription is being made anew"
                )
            for topic in self._topics.values():
                topic.lost()
            attempt = 1 if asyncio.get_running_loop().time() - begun > 5 else attempt + 1
            await asyncio.sleep(backoff(attempt, most=2.0))

    async def prove(self) -> None:
        """Publish what must come back through the connection, for ever. Run it as a task of its own, beside `run`."""
        while True:
            pause = PROBE_SECONDS if self._hearing else _FIRST_PROBE_SECONDS
            try:
                self._sent += 1
                await self._prober.publish(self._probe, str(self._sent))
            except REDIS_ERRORS as error:
                self._away(error)
                pause = _FIRST_PROBE_SECONDS
            await asyncio.sleep(pause)

    async def passed(self) -> None:
        """Return when all that was published before this call has passed through the connection."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append((self._sent + 1, waiting))
        await waiting

    async def _hold(self) -> None:
        connection: Any = lone_connection(self._url)
        try:
            await connection.connect()
            self._metrics.reconnects.inc()
            self._outgoing = dict.fromkeys(self._topics, b"SUBSCRIBE")
            self._wake.set()
            self._heard = asyncio.get_running_loop().time()
            self._hearing = False
            await until_one_ends(self._read(connection), self._write(connection), self._watch())
        finally:
            await connection.disconnect(nowait=True)

    async def _read(self, connection: Any) -> None:
        read = connection.read_response
        topics = self._topics
        while True:
            answer = await read(timeout=math.inf, disconnect_on_error=False)
            kind, name, data = answer
            topic = topics.get(name)
            if topic is None:
                continue
            if kind == b"message":
                topic.message(data)
            elif kind == b"subscribe":
                topic.confirmed()

    async def _write(self, connection: Any) -> None:
        send = connection.send_command
        while True:
            await self._wake.wait()
            self._wake.clear()
            outgoing, self._outgoing = self._outgoing, {}
            # One name is in one of the two lists only, so their order does not matter.
            for command in (b"UNSUBSCRIBE", b"SUBSCRIBE"):
                names = [name for name, wanted in outgoing.items() if wanted == command]
                for start in range(0, len(names), _NAMES_A_COMMAND):
                    await send(command, *names[start : start + _NAMES_A_COMMAND])

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() - self._heard < DEAF_SECONDS:  # noqa: ASYNC110 - it is time that is waited for
            await asyncio.sleep(0.5)
        raise Deaf

    def _away(self, error: Exception) -> None:
        self._readiness.unready(Unready.REDIS, why_away(error))

    def _on_probe(self, data: bytes) -> None:
        self._returned = int(data) if data.isdigit() else 0
        due = [waiting for number, waiting in self._waiting if number <= self._returned]
        self._waiting = [each for each in self._waiting if each[0] > self._returned and not each[1].done()]
        for waiting in due:
            if not waiting.done():
                waiting.set_result(None)
        self._heard = asyncio.get_running_loop().time()
        self.proven = self._hearing = True
        self._readiness.clear(Unready.REDIS)
        self._readiness.clear(Unready.DEAF)
        self.on_probe()
