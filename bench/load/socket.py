"""A WebSocket client that costs almost nothing, so that the load generator is not what is measured.

It speaks the client side of RFC 6455 as far as servers on the loopback need it: no extension is offered, text frames
are taken whole, pings are answered. Arrival is the time at which the bytes were read from the socket.
"""

import asyncio
import base64
import os
import struct
from collections.abc import Callable
from time import time
from typing import cast

_TEXT, _CLOSE, _PING = 0x81, 0x88, 0x89


class ClientSocket(asyncio.Protocol):
    """One connection. `on_text(payload, at)` hears every text frame, `at` in seconds since 1970."""

    def __init__(self, host: str, path: str, subprotocol: str | None, on_text: Callable[[bytes, float], None]) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost: str | None = None  # why it ended, if it did
        self._host = host
        self._path = path
        self._subprotocol = subprotocol
        self._on_text = on_text
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._leaving = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        # uvloop's transports are no asyncio.Transport, they only do what one does.
        self._transport = transport = cast(asyncio.Transport, transport)
        lines = [
            f"GET {self._path} HTTP/1.1",
            f"Host: {self._host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            "Sec-WebSocket-Version: 13",
            *([f"Sec-WebSocket-Protocol: {self._subprotocol}"] if self._subprotocol else []),
        ]
        transport.write("\r\n".join([*lines, "", ""]).encode())

    def data_received(self, data: bytes) -> None:
        """The hot path: split what came into frames."""
        at = time()
        if self._rest:
            data = self._rest + data
            self._rest = b""
        if not self.opened.done():
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._rest = head
                return
            self._upgraded(head)
        place, size = 0, len(data)
        while size - place >= 2:
            first, length, body = data[place], data[place + 1], place + 2
            if length == 126:
                if size - place < 4:
                    break
                length, body = int.from_bytes(data[place + 2 : place + 4]), place + 4
            elif length == 127:
                if size - place < 10:
                    break
                length, body = int.from_bytes(data[place + 2 : place + 10]), place + 10
            end_of_frame = body + length
            if end_of_frame > size:
                break
            if first == _TEXT:
                self._on_text(data[body:end_of_frame], at)
            else:
                self._control(first, data[body:end_of_frame])
            place = end_of_frame
        if place < size:
            self._rest = data[place:]

    def connection_lost(self, error: Exception | None) -> None:
        """Remember it, unless we left ourselves."""
        if not self._leaving:
            self.lost = self.lost or str(error or "the server closed the connection")
        if not self.opened.done():
            self.opened.set_exception(ConnectionError(self.lost or "closed"))

    def send(self, text: bytes) -> None:
        """Send a text frame."""
        self._send(_TEXT, text)

    def leave(self) -> None:
        """Close, politely and at once."""
        self._leaving = True
        if self._transport is not None and not self._transport.is_closing():
            self._send(_CLOSE, struct.pack(">H", 1000))
            self._transport.close()

    def _upgraded(self, head: bytes) -> None:
        status = head.split(b"\r\n", 1)[0]
        if b" 101 " in status:
            self.opened.set_result(None)
        else:
            self.opened.set_exception(ConnectionError(f"no upgrade: {status.decode(errors='replace')}"))

    def _control(self, first: int, payload: bytes) -> None:
        if first == _PING:
            self._send(0x8A, payload)
        elif first == _CLOSE:
            code = int.from_bytes(payload[:2]) if len(payload) >= 2 else 1005
            self.lost = self.lost or f"closed with {code} {payload[2:].decode(errors='replace')}".strip()
            if self._transport is not None:
                self._transport.close()

    def _send(self, first: int, payload: bytes) -> None:
        """A frame with the mask that clients must use; an all-zero one leaves the payload as it is."""
        assert self._transport is not None
        size = len(payload)
        length = struct.pack(">B", 0x80 | size) if size < 126 else struct.pack(">BH", 0x80 | 126, size)
        self._transport.write(bytes([first]) + length + b"\0\0\0\0" + payload)
