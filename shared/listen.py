"""Listening sockets: one way to open them, and the next free port where none was asked for by name."""

import errno
import socket
from collections.abc import Callable
from typing import Final

# How far the search for a free port goes.
_TRIES: Final = 100


def listen(host: str, port: int, backlog: int = 2048) -> socket.socket:
    """A listening, non-blocking socket. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(backlog)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def listen_near(host: str, port: int, say: Callable[[int], None]) -> socket.socket:
    """Listen on `port`, or, when it is in use, on the next free one, which is told to `say`. Raises OSError."""
    for candidate in range(port, min(port + _TRIES, 65536)):
        try:
            sock = listen(host, candidate)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or port == 0:
                raise
            continue
        if candidate != port:
            say(candidate)
        return sock
    raise OSError(errno.EADDRINUSE, f"no free port from {port} to {port + _TRIES - 1}")
