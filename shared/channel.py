"""The public name that clients subscribe to. Its pattern is part of the contract; the database checks the same one."""

import re
from typing import Final

PATTERN: Final = r"^[a-z0-9][a-z0-9_.:-]{0,127}$"
_MATCH: Final = re.compile(PATTERN[1:-1]).fullmatch


class BadChannel(ValueError):
    """A channel name that the contract does not allow."""

    def __init__(self, name: object) -> None:
        super().__init__(
            f"channel {str(name)[:140]!r} is not a channel name: 1 to 128 characters of a-z 0-9 _ . : -, "
            "the first a letter or digit"
        )


def is_channel(name: object) -> bool:
    """Whether `name` is a string that the contract allows as a channel."""
    return isinstance(name, str) and _MATCH(name) is not None


def check_channel(name: object) -> str:
    """Return `name`; raise BadChannel when it is not a channel name."""
    if isinstance(name, str) and _MATCH(name):
        return name
    raise BadChannel(name)
