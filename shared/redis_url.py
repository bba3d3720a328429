"""What `REDIS_URL` may be, and the connection options that both services use. Words only, no driver."""

from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from shared.settings import SettingsError

# A dead or frozen Redis is noticed within the 10 s of guarantee G4: a command fails after 5 s.
TIMEOUTS: Final[dict[str, Any]] = {
    "socket_connect_timeout": 3.0,
    "socket_timeout": 5.0,
    "socket_keepalive": True,
    "health_check_interval": 0,
}


def timeouts(url: str) -> dict[str, Any]:
    """TIMEOUTS, as far as they make sense for this URL: a Unix socket has no TCP keepalive."""
    return {
        name: value for name, value in TIMEOUTS.items() if name != "socket_keepalive" or not url.startswith("unix:")
    }


def check_redis_url(url: str | None) -> str:
    """Return a URL that this release can connect to. Raises SettingsError (the URL itself is never repeated)."""
    if not url:
        raise SettingsError("REDIS_URL: not set; allowed: redis://user:password@host:port/db, rediss://… or unix://…")
    parts = urlsplit(url)
    if parts.scheme == "redis+sentinel" or "cluster" in parse_qs(parts.query):
        raise SettingsError(
            "REDIS_URL: unsupported: Sentinel and Cluster are not built yet; give one server's redis:// address"
        )
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise SettingsError(f"REDIS_URL: read scheme {parts.scheme!r}; allowed: redis://, rediss://, unix://")
    return url
