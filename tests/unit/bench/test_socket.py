"""The cheap client against a complete server, and against bytes that arrive in every possible piece."""

import asyncio

import pytest
from websockets.asyncio.server import ServerConnection, serve

from bench.load.socket import ClientSocket

HEAD = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


class Transport(asyncio.Transport):
    """Notes what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


def frame(text: bytes, first: int = 0x81) -> bytes:
    size = len(text)
    if size < 126:
        return bytes([first, size]) + text
    if size < 65536:
        return bytes([first, 126]) + size.to_bytes(2) + text
    return bytes([first, 127]) + size.to_bytes(8) + text


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 1000, 10**6])
async def test_frames_are_the_same_in_whatever_pieces_they_come(piece: int) -> None:
    texts = [b"a", b"", b"b" * 125, b"c" * 126, b"d" * 65535, b"e" * 65536, b"f"]
    got: list[bytes] = []
    socket = ClientSocket("h:1", "/ws", None, lambda payload, _: got.append(payload))
    socket.connection_made(Transport())
    data = HEAD + b"".join(map(frame, texts))
    # The long frames byte by byte would take a while and show nothing new.
    step = piece if piece > 3 else 1
    short = len(HEAD) + 400 if piece <= 3 else len(data)
    for start in range(0, short, step):
        socket.data_received(data[start : min(start + step, short)])
    socket.data_received(data[short:])
    assert got == texts


async def test_pings_are_answered_and_a_close_is_remembered() -> None:
    transport = Transport()
    socket = ClientSocket("h:1", "/ws", None, lambda *_: None)
    socket.connection_made(transport)
    transport.written = b""
    socket.data_received(HEAD + frame(b"hi", 0x89))
    assert transport.written == b"\x8a\x82\0\0\0\0hi"
    socket.data_received(frame((4409).to_bytes(2) + b"slow", 0x88))
    assert socket.lost == "closed with 4409 slow"
    assert transport.closed


async def test_a_refused_upgrade_is_an_error() -> None:
    socket = ClientSocket("h:1", "/ws", None, lambda *_: None)
    socket.connection_made(Transport())
    socket.data_received(b"HTTP/1.1 403 Forbidden\r\n\r\n")
    with pytest.raises(ConnectionError, match="403"):
        await socket.opened


async def test_it_talks_with_a_real_server() -> None:
    async def echo(connection: ServerConnection) -> None:
        assert connection.subprotocol is not None
        async for message in connection:
            await connection.send(message)

    got: asyncio.Queue[bytes] = asyncio.Queue()
    async with serve(echo, "127.0.0.1", 0, subprotocols=["notifiws.v1"], compression=None, max_size=None) as server:  # type: ignore[list-item]
        port = next(iter(server.sockets)).getsockname()[1]
        _, socket = await asyncio.get_running_loop().create_connection(
            lambda: ClientSocket(f"127.0.0.1:{port}", "/ws", "notifiws.v1", lambda text, _: got.put_nowait(text)),
            "127.0.0.1",
            port,
        )
        await asyncio.wait_for(socket.opened, 5)
        for text in (b"a", "ñ".encode() * 60, b"x" * 5000):
            socket.send(text)
            assert await asyncio.wait_for(got.get(), 5) == text
        socket.leave()
        assert socket.lost is None
