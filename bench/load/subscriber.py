"""A load process: many WebSocket clients that note when each row arrives.

Settings: `host`, `port`, `path`, `v1` (subscribe by frame, else the path says the channel), `channel`, `clients`,
`first`, `rows`, `file`. States: `warm` once every client has seen a row, `done` after the order `finish`, when every
client has every row, or nothing has come for `quiet` seconds, or `limit` seconds are over.
"""

import asyncio
import json
from array import array
from time import time

from bench.load.process import Settings, cpu_seconds, order, report, run, store
from bench.load.receipts import Receipts
from bench.load.socket import ClientSocket

_TURN = 0.02  # seconds between looks at the clients: rare enough to cost nothing
_OPENING = 32  # handshakes at a time


async def main(settings: Settings, orders: asyncio.StreamReader) -> None:
    """Open, warm up, receive, report."""
    receipts = [Receipts(settings["first"], settings["rows"]) for _ in range(settings["clients"])]
    sockets: list[ClientSocket] = []
    for start in range(0, len(receipts), _OPENING):
        sockets += await asyncio.gather(*(_open(settings, each) for each in receipts[start : start + _OPENING]))
    report("open")
    while not all(each.warm for each in receipts):
        _refuse_the_dead(sockets, receipts)
        await asyncio.sleep(_TURN)
    report("warm")
    began, cpu = time(), cpu_seconds()
    words = await order(orders)
    await _drained(receipts, settings["rows"], words["quiet"], words["limit"])
    taken = cpu_seconds() - cpu
    last = max(each.last for each in receipts)
    arrivals = array("d")
    for each in receipts:
        arrivals.extend(each.at)
    store(settings["file"], arrivals)
    report(
        "done",
        cpu_seconds=taken,
        wall_seconds=max(last - began, 1e-9),
        lost=sum(settings["rows"] - each.got for each in receipts),
        duplicated=sum(each.duplicated for each in receipts),
        foreign=sum(each.foreign for each in receipts),
        gaps=sum(each.gaps for each in receipts),
        dropped=sum(socket.lost is not None for socket in sockets),
    )
    for socket in sockets:
        socket.leave()


async def _open(settings: Settings, receipts: Receipts) -> ClientSocket:
    v1 = settings["v1"]
    host, port = settings["host"], settings["port"]
    _, socket = await asyncio.get_running_loop().create_connection(
        lambda: ClientSocket(
            f"{host}:{port}", settings["path"], "notifiws.v1" if v1 else None, receipts.v1 if v1 else receipts.plain
        ),
        host,
        port,
    )
    await asyncio.wait_for(socket.opened, 10)
    if v1:
        socket.send(json.dumps({"type": "subscribe", "id": 1, "channel": settings["channel"]}).encode())
    return socket


def _refuse_the_dead(sockets: list[ClientSocket], receipts: list[Receipts]) -> None:
    """A benchmark whose clients are refused has no figures."""
    for socket, each in zip(sockets, receipts, strict=True):
        if socket.lost or each.refused:
            raise ConnectionError(f"a client ended before it was warm: {socket.lost or each.refused}")


async def _drained(receipts: list[Receipts], rows: int, quiet: float, limit: float) -> None:
    began = time()
    while any(each.got < rows for each in receipts):
        now = time()
        if now - max(began, *(each.last for each in receipts)) > quiet or now - began > limit:
            return
        await asyncio.sleep(_TURN)
    # A duplicate would follow on the heels.
    await asyncio.sleep(10 * _TURN)


if __name__ == "__main__":
    run(main)
