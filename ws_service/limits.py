"""What one client may ask of a node. Limits are per node; `welcome` announces them."""

from dataclasses import dataclass
from typing import Final

from shared.settings import Settings

# Bytes of one message from a client; the largest sensible one is a subscribe with a long filter.
MESSAGE_BYTES: Final = 65_536
# Pages of events over HTTP that a node reads and sends at the same time; each is about a megabyte.
PAGES_AT_ONCE: Final = 32
# Of these, for one address: others must get theirs while it reads nothing.
PAGES_OF_ADDRESS: Final = 8


@dataclass(frozen=True, slots=True)
class Limits:
    """All limits of one connection."""

    frame_bytes: int = MESSAGE_BYTES
    messages_per_second: int = 200
    subscriptions: int = 1_000
    history_events: int = 1_000
    send_buffer_bytes: int = 4_000_000

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """The limits that these settings ask for."""
        return cls(subscriptions=settings.max_subscriptions, send_buffer_bytes=settings.send_buffer_bytes)

    def announced(self) -> dict[str, int]:
        """As `welcome` carries them. Filters and snapshots are not built yet: none of either."""
        return {
            "frame_bytes": self.frame_bytes,
            "messages_per_second": self.messages_per_second,
            "subscriptions": self.subscriptions,
            "filter_terms": 0,
            "snapshot_rows": 0,
            "history_events": self.history_events,
            "send_buffer_bytes": self.send_buffer_bytes,
        }


class MessageRate:
    """A bucket that holds five seconds of messages, so that a client may subscribe to much at once.

    Over it: each message is refused, and a client that goes on for another second's worth is closed.
    """

    __slots__ = ("_at", "_capacity", "_level", "_rate")

    def __init__(self, per_second: int, now: float) -> None:
        self._rate = per_second
        self._capacity = 5.0 * per_second
        self._level = self._capacity
        self._at = now

    def take(self, now: float) -> bool:
        """Count a message. False: too many."""
        self._level = min(self._capacity, self._level + (now - self._at) * self._rate) - 1
        self._at = now
        return self._level >= 0

    @property
    def excessive(self) -> bool:
        """Whether refusals did not stop the client."""
        return self._level < -self._rate


class Admission:
    """Counts what is under way, of the node and of each address. Full: refused at once, never queued."""

    def __init__(self, most: int, most_per_address: int, what: str = "connections") -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._what = what
        self._by_address: dict[str, int] = {}
        self.count = 0

    def enter(self, address: str) -> str | None:
        """Count one in; else say which limit is full."""
        if self.count >= self._most:
            return f"this node has its {self._most} {self._what}; try again later"
        if self._by_address.get(address, 0) >= self._most_per_address:
            return f"your address has its {self._most_per_address} {self._what}; close some, or try again later"
        self.count += 1
        self._by_address[address] = self._by_address.get(address, 0) + 1
        return None

    def leave(self, address: str) -> None:
        """Count one out."""
        self.count -= 1
        left = self._by_address[address] - 1
        if left:
            self._by_address[address] = left
        else:
            del self._by_address[address]
