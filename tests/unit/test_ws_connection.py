"""What the hub writes to: order, the bound, closing, and what a pull waits for."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from shared.codes import CloseCode
from ws_service.connection import AsgiConnection


class Peer:
    """An ASGI `send` that blocks while `reading` is not set."""

    def __init__(self) -> None:
        self.reading = asyncio.Event()
        self.reading.set()
        self.messages: list[dict[str, Any]] = []
        self.abandoned: list[tuple[int, str]] = []
        self.slow = 0

    async def send(self, message: Any) -> None:
        await self.reading.wait()
        self.messages.append(message)

    def connection(self, limit: int, *, door: bool = True) -> AsgiConnection:
        def slow() -> None:
            self.slow += 1

        def abandon(code: int, reason: str) -> None:
            self.abandoned.append((code, reason))

        return AsgiConnection(self.send, limit, abandon if door else None, slow)

    @property
    def texts(self) -> list[str]:
        return [message["text"] for message in self.messages if message["type"] == "websocket.send"]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


async def test_messages_go_out_in_order() -> None:
    peer = Peer()
    connection = peer.connection(100)
    connection.write((b"a", "ñ".encode()))
    connection.write((b"b",))
    await until(lambda: peer.texts == ["a", "ñ", "b"])
    assert connection.buffered == 0
    await connection.ended()


@pytest.mark.parametrize("door", [True, False])
async def test_close_comes_after_what_was_written(door: bool) -> None:
    peer = Peer()
    connection = peer.connection(100, door=door)
    connection.write((b"a",))
    connection.close(CloseCode.RESTART, "bye")
    connection.close(CloseCode.SLOW, "the first counts")
    connection.write((b"never",))
    assert not connection.open
    if door:
        await until(lambda: peer.abandoned == [(1012, "bye")])
    else:
        await until(lambda: peer.messages[-1:] == [{"type": "websocket.close", "code": 1012, "reason": "bye"}])
    assert peer.texts == ["a"]
    assert connection.close_code == 1012
    await connection.ended()


async def test_over_the_bound_it_is_closed_at_once() -> None:
    peer = Peer()
    peer.reading.clear()
    connection = peer.connection(100)
    for _ in range(20):
        connection.write((b"x" * 10,))
    assert peer.slow == 1
    assert peer.abandoned[0][0] == CloseCode.SLOW
    assert connection.buffered == 0
    peer.reading.set()
    await connection.ended()
    assert peer.texts == []


async def test_one_message_larger_than_the_bound_gets_through() -> None:
    peer = Peer()
    peer.reading.clear()
    connection = peer.connection(100)
    connection.write((b"a", b"x" * 1000, b"b"))
    assert connection.open
    peer.reading.set()
    await until(lambda: len(peer.texts) == 3)
    peer.reading.clear()
    connection.write((b"x" * 1000, b"y" * 1000))
    assert connection.open
    connection.write((b"z" * 1000,))
    assert not connection.open
    peer.reading.set()
    await connection.ended()


async def test_room_waits_for_the_peer() -> None:
    peer = Peer()
    peer.reading.clear()
    connection = peer.connection(100)
    connection.write((b"x" * 40,))
    waiting = asyncio.ensure_future(connection.room(40))
    await asyncio.sleep(0)
    assert not waiting.done()
    peer.reading.set()
    assert await waiting
    assert await connection.room(10_000)
    connection.close(CloseCode.NORMAL)
    assert not await connection.room(1)
    await connection.ended()


async def test_a_close_ends_the_wait_for_room() -> None:
    peer = Peer()
    peer.reading.clear()
    connection = peer.connection(100)
    connection.write((b"x" * 60,))
    waiting = asyncio.ensure_future(connection.room(60))
    await asyncio.sleep(0)
    connection.close(CloseCode.RESTART)
    assert not await waiting
    await connection.ended()


async def test_a_peer_that_is_gone_is_not_written_to() -> None:
    async def send(_: Any) -> None:
        raise OSError("gone")

    connection = AsgiConnection(send, 100)
    connection.write((b"a",))
    await until(lambda: not connection.open)
    connection.write((b"b",))
    assert not await connection.room(1000)
    await connection.ended()


async def test_reasons_fit_a_close_frame() -> None:
    peer = Peer()
    connection = peer.connection(100)
    connection.close(CloseCode.MALFORMED, "ñ" * 100)
    await until(lambda: peer.abandoned)
    assert len(peer.abandoned[0][1].encode()) <= 123
    await connection.ended()
