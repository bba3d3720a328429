"""Short questions to parts: are you alive, are you ready. Small enough for `status` to answer at once."""

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit


async def http_get(url: str, timeout: float) -> tuple[int, bytes]:
    """GET over one fresh connection. Raises OSError or TimeoutError when there is no whole answer in time."""
    async with asyncio.timeout(timeout):
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
        try:
            writer.write(
                f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode()
            )
            answer = await reader.read(-1)
        finally:
            writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if not head.startswith(b"HTTP/1.") or len(words) < 2 or not words[1].isdigit():
        raise ConnectionError(f"{url} did not answer with HTTP")
    return int(words[1]), body


async def http_alive(url: str, timeout: float) -> bool:
    """Whether a GET is answered with 200."""
    try:
        return (await http_get(url, timeout))[0] == 200
    except (OSError, TimeoutError):
        return False


class Readyz:
    """A part's answer to /readyz, or that there was none."""

    def __init__(self, status: int | None, body: dict[str, Any]) -> None:
        self.ready = status == 200
        self.body = body
        self.reasons: list[dict[str, str]] = [] if self.ready else body.get("reasons", [])


async def readyz(url: str, timeout: float) -> Readyz:
    """Ask `url`/readyz. Never raises: what does not answer is not ready, and the reason says so."""
    try:
        status, body = await http_get(f"{url}/readyz", timeout)
        answer = json.loads(body)
        if not isinstance(answer, dict):
            raise ValueError("not an object")
    except (OSError, TimeoutError) as error:
        why = "no answer in time" if isinstance(error, TimeoutError) else str(error)
        return Readyz(None, {"reasons": [{"code": "unreachable", "message": f"{url}/readyz: {why}"}]})
    except ValueError:
        return Readyz(None, {"reasons": [{"code": "unreachable", "message": f"{url}/readyz: not JSON"}]})
    return Readyz(status, answer)


async def postgres_alive(port: int, timeout: float) -> bool:
    """Whether the postmaster answers an SSLRequest: it can accept and fork. Needs no password."""
    return await _answers(port, b"\x00\x00\x00\x08\x04\xd2\x16\x2f", timeout)


async def redis_alive(port: int, timeout: float) -> bool:
    """Whether Valkey answers at all; that it wants a password first is answer enough."""
    return await _answers(port, b"PING\r\n", timeout)


async def _answers(port: int, question: bytes, timeout: float) -> bool:
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(question)
                return bool(await reader.read(1))
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
