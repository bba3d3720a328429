"""Programs of the machine that some tests want and that `make system-deps` installs.

Without one, its tests are skipped with a line that says how to get it; NOTIFIWS_STRICT=1 turns skips into failures.
"""

import os
import shutil
from pathlib import Path

import pytest

# Debian keeps these out of an ordinary user's PATH.
_PLACES = os.pathsep.join(
    [os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
)


def find_tool(*names: str) -> str | None:
    """The path of the first of these programs that is there."""
    return next((path for name in names if (path := shutil.which(name, path=_PLACES))), None)


def require_tool(*names: str) -> str:
    """The path of the first of these programs that is there; without any, the test is skipped."""
    path = find_tool(*names)
    if path is None:
        pytest.skip(f"needs {' or '.join(names)}: run `make system-deps`")
    return path
