"""Ports on the loopback that stay ours across a restart of the part that listens there."""

import random
from pathlib import Path

from notifiws.stack.errors import InUse
from shared.listen import listen

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
        listen(host, port).close()
    except OSError:
        return False
    return True


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
