"""How much room the disk has on which Postgres keeps its data, if that is a disk of this machine."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# What the disk keeps free of the log: the smaller one of a part of it and of so many bytes.
RESERVE_PART: Final = 0.05
RESERVE_BYTES: Final = 1_000_000_000
# postmaster.pid says when it began to start, the server when it had.
_START_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes."""

    free: int
    total: int

    def room(self, log: int) -> int:
        """What a log of `log` bytes may grow to, or has to shrink to. Half of what is free is always left to it: a disk
        that others have filled is not made better by taking a small log's history."""
        reserve = min(round(self.total * RESERVE_PART), RESERVE_BYTES)
        return max(log + self.free - reserve, self.free // 2)


def find(folder: str | None, port: int, started: float) -> Disk | None:
    """The disk of that data directory, None when it is not here: the server's own pid file must be in it."""
    if folder is None:
        return None
    try:
        lines = (Path(folder) / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        if int(lines[3]) != port or abs(int(lines[2]) - started) > _START_SECONDS:
            return None
        found = os.statvfs(folder)
    except (OSError, ValueError, IndexError):
        return None
    return Disk(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)
