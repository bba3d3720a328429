"""Ports on the loopback that stay ours across a restart of the part that listens there."""

import random
import socket
from pathlib import Path

from notifiws.stack.errors import InUse

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def _quiet_range() -> range:
    """Ports that the kernel never gives to outgoing connections.

    While a part is down, any client's socket could otherwise be given its port, and the restart would fail.
    """
    try:
        first = int(_RANGE.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        first = 32768
    return range(20000, first) if first > 21000 else range(20000, 30000)


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody could listen there now."""
    try:
        listen(port, host).close()
    except OSError:
        return False
    return True


def listen(port: int, host: str = "127.0.0.1", backlog: int = 4096) -> socket.socket:
    """A listening, non-blocking socket. Raises OSError when the port is taken."""
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


def free_port(host: str = "127.0.0.1", *, preferred: int | None = None) -> int:
    """A free port: `preferred` when it still is, else a random one outside the kernel's own range."""
    if preferred and is_free(preferred, host):
        return preferred
    candidates = _quiet_range()
    for _ in range(200):
        port = random.choice(candidates)
        if is_free(port, host):
            return port
    raise InUse(f"no free port found on {host} in {candidates.start}-{candidates.stop}")
