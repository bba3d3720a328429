"""Sending clients away before the node ends: told when to come back, then closed, a few at a time."""

import asyncio
from typing import Final

from shared.codes import CloseCode, Unready
from shared.logs import logger
from ws_service.node import Node

# As many a second come back to the other nodes at most, as long as the drain time allows it.
_CLIENTS_A_SECOND: Final = 200
# Of the drain time: the rest is for close handshakes and the end of the process.
_SHARE: Final = 0.65


async def drain(node: Node) -> None:
    """Tell every client, spread their returns over the drain time, close each when its time has come."""
    node.readiness.unready(Unready.DRAINING, "this node was told to stop")
    clients = tuple(node.clients)
    window = min(node.settings.drain_seconds * _SHARE, len(clients) / _CLIENTS_A_SECOND)
    logger("drain").info("draining", clients=len(clients), seconds=round(window, 2))
    pause = window / len(clients) if clients else 0.0
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for number, client in enumerate(clients):
        client.farewell(round(number * pause * 1000))
    for number, client in enumerate(clients):
        if (ahead := begun + number * pause - loop.time()) > 0.005:
            await asyncio.sleep(ahead)
        client.connection.close(CloseCode.RESTART, "this node is leaving; reconnect")
    # Let the closes go out, and their answers come in.
    until = loop.time() + min(1.0, 0.1 * node.settings.drain_seconds)
    while node.clients and loop.time() < until:  # noqa: ASYNC110 - nobody else waits for the last one
        await asyncio.sleep(0.02)
