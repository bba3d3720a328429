"""Bounds the parts' log files. A part writes to its file by itself, so it never waits for us."""

import contextlib
import os
import shutil
from pathlib import Path

# Two files of this size a part at most.
LIMIT_BYTES = 8_000_000


def rotate(folder: Path, limit: int = LIMIT_BYTES) -> list[Path]:
    """Move what is over the limit to `<name>.log.1` and go on in the emptied file. Returns what was rotated.

    Copied and truncated, since the part holds the file open (for appending). Lines written between the two steps are
    lost; a log of one's own machine may lose them, a part that has to be told to reopen its log may not exist.
    """
    rotated = []
    for log in folder.glob("*.log"):
        with contextlib.suppress(OSError):
            if log.stat().st_size > limit:
                shutil.copyfile(log, f"{log}.1")
                os.truncate(log, 0)
                rotated.append(log)
    return rotated
