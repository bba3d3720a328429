"""A link passes, slows, swallows and cuts, and nobody at either end is told of what is swallowed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from notifiws.verify.proxy import Link, Mode


class Ends:
    """A caller and the server, which answers each line with the same line."""

    def __init__(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.link, self.reader, self.writer = link, reader, writer

    async def ask(self, text: bytes, seconds: float = 5) -> bytes:
        self.writer.write(text + b"\n")
        async with asyncio.timeout(seconds):
            return await self.reader.readline()


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    served: list[bytes] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                served.append(line)
                writer.write(line)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    link = Link("node 1", "127.0.0.1", server.sockets[0].getsockname()[1])
    await link.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    yield Ends(link, reader, writer)
    writer.close()
    await link.stop()
    server.close()


async def test_bytes_pass(ends: Ends) -> None:
    assert await ends.ask(b"hola") == b"hola\n"


async def test_a_slow_link_passes_them_late(ends: Ends) -> None:
    ends.link.set(Mode.SLOW)
    began = asyncio.get_running_loop().time()
    assert await ends.ask(b"hola") == b"hola\n"
    assert asyncio.get_running_loop().time() - began > 0.1


@pytest.mark.parametrize("mode", [Mode.HALF_OPEN, Mode.ONE_WAY])
async def test_what_is_swallowed_nobody_is_told_of_and_healing_resets(ends: Ends, mode: Mode) -> None:
    assert await ends.ask(b"before") == b"before\n"
    ends.link.set(mode)
    with pytest.raises(TimeoutError):
        await ends.ask(b"swallowed", seconds=0.3)
    assert not ends.reader.at_eof()
    ends.link.set(Mode.OPEN)
    with contextlib.suppress(ConnectionError):
        assert await ends.reader.read() == b""
    reader, writer = await asyncio.open_connection("127.0.0.1", ends.link.port)
    assert await Ends(ends.link, reader, writer).ask(b"again") == b"again\n"
    writer.close()


async def test_a_caller_of_a_swallowing_link_is_accepted_and_hears_nothing_until_it_is_healed(ends: Ends) -> None:
    ends.link.set(Mode.HALF_OPEN)
    reader, writer = await asyncio.open_connection("127.0.0.1", ends.link.port)
    with pytest.raises(TimeoutError):
        await Ends(ends.link, reader, writer).ask(b"hola", seconds=0.3)
    writer.close()


async def test_a_cut_resets_all_and_takes_new_callers(ends: Ends) -> None:
    assert await ends.ask(b"before") == b"before\n"
    ends.link.cut()
    with contextlib.suppress(ConnectionError):
        assert await ends.reader.read() == b""
    reader, writer = await asyncio.open_connection("127.0.0.1", ends.link.port)
    assert await Ends(ends.link, reader, writer).ask(b"again") == b"again\n"
    writer.close()
