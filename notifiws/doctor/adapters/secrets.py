"""Keeps passwords out of what drivers say, and finds files with secrets that others on this machine may read."""

import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

# Files there are an engine's own mounts, readable to everybody inside one container and to nobody outside.
_MOUNTS: Final = Path("/run/secrets")
_MASK: Final = "***"


def scrub(text: str, *urls: str) -> str:
    """The text without the addresses and their passwords, in either spelling."""
    for url in urls:
        for secret in sorted(_secrets(url), key=len, reverse=True):
            text = text.replace(secret, _MASK)
    return text


def _secrets(url: str) -> set[str]:
    try:
        parts = urlsplit(url)
        password, query = parts.password, parts.query
    except ValueError:
        return {url}
    found = {url}
    for secret in (password, *(value for name, value in parse_qsl(query) if "pass" in name.lower())):
        if secret:
            found |= {secret, unquote(secret)}
    return found


def readable_by_others(paths: Iterable[Path]) -> list[str]:
    """Those files that any account of this machine may read: the file itself, and every folder on the way."""
    return [str(path) for path in paths if _MOUNTS not in path.parents and _open_to_all(path)]


def _open_to_all(path: Path) -> bool:
    try:
        real = path.resolve(strict=True)
        if not real.stat().st_mode & stat.S_IROTH:
            return False
        return all(folder.stat().st_mode & stat.S_IXOTH for folder in real.parents)
    except OSError:
        return False
