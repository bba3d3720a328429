"""Whether a server's address can be told apart into its parts. Words only: what is wrong with it is for the caller to
say, without the address, since what was taken for a port or a path may be a piece of a password."""

import re
from urllib.parse import urlsplit

_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:@\[\]]*)(?::(\d{1,5}))?", re.ASCII)


def scheme_of(url: str) -> str | None:
    """Its scheme, None when it is no address at all."""
    try:
        return urlsplit(url).scheme
    except ValueError:
        return None


def well_formed(url: str) -> bool:
    """Whether every part is what it seems: a `/`, `?` or `#` in a password is none of the address's own.

    Several hosts may stand there, separated by commas.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    for host in parts.netloc.rpartition("@")[2].split(","):
        match = _HOST.fullmatch(host)
        if match is None or int(match[2] or 0) > 65535:
            return False
    options = parts.query.split("&") if parts.query else []
    return (
        # The rest of a password that was cut ends with the @ before the host.
        "@" not in parts.path
        and "#" not in url
        and all(re.fullmatch(r"[A-Za-z0-9_.]+=.*", option) for option in options)
    )
