"""The questions to parts, against answers of every kind."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from notifiws.stack.ports import free_port, is_free
from notifiws.stack.probe import http_alive, http_get, readyz
from shared.listen import listen


@contextlib.asynccontextmanager
async def server(answer: bytes | None) -> AsyncIterator[str]:
    """Answers each connection with these bytes and closes; None: never."""
    release = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answer is None:
            await release.wait()
        else:
            writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        release.set()


async def test_http_get() -> None:
    async with server(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nhello") as url:
        assert await http_get(f"{url}/healthz", 2) == (200, b"hello")


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0\r\n", b"HTTP/1.1\r\n\r\n"])
async def test_what_is_no_http_is_an_error(answer: bytes) -> None:
    async with server(answer) as url:
        with pytest.raises(OSError, match="HTTP"):
            await http_get(url, 2)
        assert not await http_alive(url, 2)


async def test_silence_ends_in_time() -> None:
    async with server(None) as url:
        assert not await http_alive(url, 0.05)
        answer = await readyz(url, 0.05)
        assert not answer.ready
        assert answer.reasons[0]["code"] == "unreachable"


async def test_readyz_reads_the_reasons() -> None:
    async with server(b'HTTP/1.1 503 X\r\n\r\n{"ready": false, "reasons": [{"code": "redis", "message": "m"}]}') as url:
        answer = await readyz(url, 2)
        assert (answer.ready, answer.reasons) == (False, [{"code": "redis", "message": "m"}])
    async with server(b'HTTP/1.1 200 OK\r\n\r\n{"ready": true, "role": "leader"}') as url:
        answer = await readyz(url, 2)
        assert (answer.ready, answer.reasons, answer.body["role"]) == (True, [], "leader")


@pytest.mark.parametrize("body", [b"oops", b"[]"])
async def test_readyz_of_something_else(body: bytes) -> None:
    async with server(b"HTTP/1.1 200 OK\r\n\r\n" + body) as url:
        answer = await readyz(url, 2)
        assert not answer.ready
        assert answer.reasons[0]["code"] == "unreachable"


async def test_readyz_where_nobody_listens() -> None:
    answer = await readyz(f"http://127.0.0.1:{free_port()}", 2)
    assert not answer.ready
    assert answer.reasons[0]["code"] == "unreachable"


def test_a_port_that_is_taken_is_not_free() -> None:
    port = free_port()
    assert is_free(port)
    with listen("127.0.0.1", port) as taken:
        assert not is_free(port)
        assert free_port(preferred=port) != port
        assert taken.getsockname()[1] == port
    assert free_port(preferred=port) == port
