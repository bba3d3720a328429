"""What the parts of one node share, and how they start and end. Built in app.py, passed to every endpoint."""

import asyncio
import contextlib
import ipaddress
import secrets
from collections.abc import AsyncIterator, Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

from shared.codes import CloseCode, Unready
from shared.keys import Keys
from shared.logs import logger
from shared.readiness import Readiness
from shared.redis_url import check_redis_url
from shared.settings import Settings, SettingsError
from shared.tasks import end
from ws_service.broker import Broker
from ws_service.connection import Connection
from ws_service.gate import Gate
from ws_service.history import History
from ws_service.hub import Hub
from ws_service.limits import PAGES_AT_ONCE, PAGES_OF_ADDRESS, Admission, Limits
from ws_service.log import Log
from ws_service.metrics import NodeMetrics
from ws_service.pubsub import PubSub
from ws_service.reader import Reader
from ws_service.redis_link import commands
from ws_service.retained import Retained
from ws_service.standstill import Standstill

# Commands of all clients that resume or page; each holds a page of about a megabyte.
_COMMAND_CONNECTIONS = 16
_STALL_CHECK_SECONDS = 0.25


class Client(Protocol):
    """An open WebSocket, as draining sees it."""

    @property
    def connection(self) -> Connection:
        """Where its messages go."""

    def farewell(self, after_ms: int) -> None:
        """Say that the node goes away and when to come back, if this client understands it."""

    def dropped(self, channel: str) -> None:
        """A live query was dropped: nothing more will come on its channel, if this client follows it."""


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def trusted_networks(entries: Iterable[str]) -> list[Network]:
    """The networks whose forwarded headers count. Raises SettingsError."""
    try:
        return [_unmapped(ipaddress.ip_network(entry, strict=False)) for entry in entries]
    except ValueError as error:
        raise SettingsError(
            f"NOTIFIWS_TRUSTED_PROXIES: {error}; allowed: addresses or networks such as 10.0.0.0/8, separated by commas"
        ) from None


def _unmapped(network: Network) -> Network:
    """IPv4 inside IPv6 as IPv4, as addresses of peers are read."""
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is None or network.prefixlen < 96:
        return network
    return ipaddress.IPv4Network((mapped, network.prefixlen - 96), strict=False)


def _log_change(code: Unready, message: str | None) -> None:
    if message is None:
        logger("readiness").info("over", code=str(code))
    else:
        logger("readiness").warning(message, code=str(code))


class Node:
    """One node's parts. `async with node.running():` starts them."""

    def __init__(self, settings: Settings) -> None:
        url = check_redis_url(settings.redis_url.get_secret_value() if settings.redis_url else None)
        self.settings = settings
        self.name = secrets.token_hex(4)
        try:
            self.version = version("notifiws")
        except PackageNotFoundError:
            self.version = "0"
        self.limits = Limits.of(settings)
        self.metrics = NodeMetrics()
        self.readiness = Readiness(_log_change)
        self.gate = Gate(settings)
        self.proxies = trusted_networks(settings.trusted_proxies)
        self.admission = Admission(settings.max_connections, settings.max_connections_per_ip)
        self.pages = Admission(PAGES_AT_ONCE, PAGES_OF_ADDRESS, "pages of events under way")
        self.clients: dict[Client, None] = {}
        self.hub = Hub(self.metrics)
        keys = Keys(settings.namespace)
        self._redis = commands(url, _COMMAND_CONNECTIONS)
        # Quicker to give up than the others: it proves that Redis answers.
        self._prober = commands(url, 1, socket_timeout=3.0)
        reader = settings.reader_database_url
        self.log = Log(None if reader is None else Reader(reader.get_secret_value()), self.metrics)
        self.retained = Retained(History(self._redis, keys, self.metrics), self.log, self.metrics)
        self._pubsub = PubSub(
            url, self._prober, keys.node_probe(self.name), readiness=self.readiness, metrics=self.metrics
        )
        self.broker = Broker(
            self._redis,
            keys,
            pubsub=self._pubsub,
            retained=self.retained,
            sink=self.hub,
            readiness=self.readiness,
            metrics=self.metrics,
            most=settings.max_channels,
        )
        self.broker.on_dropped = self._dropped
        self.standstill = Standstill(self.broker, self.hub, self.retained, self._pubsub)
        self.failed = asyncio.Event()

    @property
    def draining(self) -> bool:
        """Whether the node takes no new clients any more."""
        return self.readiness.has(Unready.DRAINING)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run what runs beside the endpoints. `failed` is set when a part dies that should never end."""
        tasks = [
            asyncio.create_task(self._pubsub.run(), name="pub/sub"),
            asyncio.create_task(self._pubsub.prove(), name="pub/sub probe"),
            asyncio.create_task(self.broker.keep_fresh(), name="epoch and channels"),
            asyncio.create_task(self.standstill.run(), name="standstill"),
            asyncio.create_task(self._watch_loop(), name="loop watch"),
        ]
        for task in tasks:
            task.add_done_callback(self._part_ended)
        try:
            yield
        finally:
            await end(*tasks)
            await self.broker.close()
            await self._redis.aclose()
            await self._prober.aclose()
            await self.log.close()

    def enter(self, client: Client) -> None:
        """A client is connected."""
        self.clients[client] = None

    def leave(self, client: Client, code: CloseCode | None) -> None:
        """A client is gone. `code`: what this node closed it with, if it did."""
        self.clients.pop(client, None)
        if code is not None:
            self.metrics.closes.labels(str(int(code))).inc()

    def _dropped(self, channel: str) -> None:
        for client in tuple(self.clients):
            client.dropped(channel)

    def _part_ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        logger("node").error("a part of the node died", name=task.get_name(), exc_info=task.exception())
        self.failed.set()

    async def _watch_loop(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _STALL_CHECK_SECONDS
            await asyncio.sleep(_STALL_CHECK_SECONDS)
            self.metrics.stall.observe(max(0.0, loop.time() - due))
