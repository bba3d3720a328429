"""A load process that listens where nodes listen: on the Redis channel, to see when each publication is there.

Settings: `redis_url`, `redis_channel`, `first`, `rows`, `file`. States: `ready`, `done` after the order to finish.
Publications are only put away as they come; they are read when the load is over.
"""

import asyncio
from array import array
from datetime import datetime
from time import time

import msgspec
import redis.asyncio as redis

from bench.load.process import Settings, cpu_seconds, order, report, run, store
from bench.load.receipts import Row
from shared.publication import Publication


class _Event(msgspec.Struct):
    at: datetime
    new: Row


async def main(settings: Settings, orders: asyncio.StreamReader) -> None:
    """Subscribe, collect until told, read, report."""
    client = redis.Redis.from_url(settings["redis_url"])
    came: list[tuple[float, bytes]] = []
    async with client.pubsub() as pubsub:
        await pubsub.subscribe(settings["redis_channel"])
        cpu = cpu_seconds()

        async def collect() -> None:
            async for message in pubsub.listen():
                if message["type"] == "subscribe":
                    report("ready")
                else:
                    came.append((time(), message["data"]))

        collecting = asyncio.create_task(collect())
        finish = asyncio.create_task(order(orders))
        await asyncio.wait([collecting, finish], return_when=asyncio.FIRST_COMPLETED)
        if collecting.done():
            collecting.result()
        collecting.cancel()
    taken = cpu_seconds() - cpu
    written, cut, heard, publications = read(came, settings["first"], settings["rows"])
    store(settings["file"], written, cut, heard)
    report("done", cpu_seconds=taken, publications=publications)
    await client.aclose()


def read(
    came: list[tuple[float, bytes]], first: int, rows: int
) -> "tuple[array[float], array[float], array[float], int]":
    """For each row: when its statement ran, when its tick was cut, when its publication came; and how many came."""
    decode = msgspec.json.Decoder(_Event).decode
    written, cut, heard = (array("d", bytes(8 * rows)) for _ in range(3))
    publications = 0
    for at, data in came:
        publication = Publication(data)
        ours = False
        for event in publication.events():
            row = decode(event.data)
            index = row.new.seq - first
            if 0 <= index < rows and not heard[index]:
                written[index] = row.at.timestamp()
                cut[index] = publication.cut_us / 1e6
                heard[index] = at
                ours = True
        publications += ours
    return written, cut, heard, publications


if __name__ == "__main__":
    run(main)
