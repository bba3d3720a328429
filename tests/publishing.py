"""A stand-in for the listener: publications made and published exactly as its leader does, without a Postgres.

It runs the leader's own script. `lose` publishes to the stream alone, as when pub/sub drops a message.
"""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from redis.asyncio import Redis

import listener_service
from shared.event import EncodedEvent, LogRow, encode_event
from shared.keys import Keys
from shared.position import Position
from shared.publication import encode

_SCRIPT = (Path(listener_service.__file__).parent / "publish.lua").read_text(encoding="utf-8")


def event(number: int, *, op: str = "insert", pad: int = 0, **texts: Any) -> EncodedEvent:
    """An event object. Without `new`, `payload` or `old` (JSON texts): an insert of `{"id": number}`."""
    row = {"key": None, "new": None, "old": None, "payload": None, "is_json": True}
    if op in ("emit", "notify", "result"):
        row["payload"] = f'{{"n": {number}}}'
    else:
        row |= {"key": f'{{"id":{number}}}', "new": f'{{"id":{number},"pad":"{"x" * pad}"}}'}
    row |= texts
    return encode_event(
        LogRow(number, str(700 + number), "", op, "public.t", at=datetime(2026, 11, 24, 10, tzinfo=UTC), **row)
    )


class Publisher:
    """One leader. Ticks and event ids go up by themselves; every event's id is its number in `sent`."""

    def __init__(self, client: Redis, namespace: str = "notifiws", epoch: str = "e1") -> None:
        self.client = client
        self.keys = Keys(namespace)
        self.epoch = epoch
        self.heads: dict[str, Position] = {}
        self.tick = 0
        self.number = 0
        self.sent: dict[str, list[int]] = {}
        self.positions: dict[str, list[Position]] = {}

    async def begin(self, *channels: str) -> None:
        """Announce epoch and channels."""
        await self.client.set(self.keys.epoch, self.epoch)
        await self.client.set(self.keys.channels, msgspec.json.encode(channels))
        await self.beat()

    async def beat(self, floor: int = 0) -> None:
        """The mark of what is wholly published, and the heartbeat. `floor`: up to there something was lost."""
        await self.client.set(self.keys.published, f"{self.epoch}:{self.tick}:{floor}")
        beat = msgspec.json.encode({"epoch": self.epoch, "tick": self.tick, "at_ms": 0, "lag_seconds": 0.25})
        await self.client.set(self.keys.relay, beat)
        await self.client.publish(self.keys.relay, beat)

    async def publish(
        self,
        channel: str,
        events: int | Sequence[EncodedEvent] = 1,
        *,
        live: bool = True,
        pad: int = 0,
        cut_us: int | None = None,
        history: tuple[int, int] = (3_600_000, 64_000_000),
    ) -> Position:
        """One publication of so many events, or of these. `history`: most age in ms, most bytes."""
        self.tick += 1
        if isinstance(events, int):
            events = [event(self.number + n, pad=pad) for n in range(1, events + 1)]
        self.number = events[-1].id
        prev = self.heads.get(channel, Position.origin(self.epoch))
        position = Position(self.epoch, self.tick, self.number)
        now = asyncio.get_running_loop().time()
        cut = cut_us if cut_us is not None else int(datetime.now(UTC).timestamp() * 1e6)
        data = encode(channel, prev, position, cut, events)
        for attempt in range(200):
            try:
                answer = await self.client.eval(
                    _SCRIPT, 2, self.keys.stream(channel, self.epoch), self.keys.sizes(channel, self.epoch),
                    self.keys.live(channel) if live else "nobody", prev.entry_id, position.entry_id, data,
                    int(now * 1000), *history,
                )  # fmt: skip
            except Exception:
                # The leader keeps its place while Redis is away; what was written after all is refused as known.
                if attempt == 199:
                    raise
                await asyncio.sleep(0.05)
                continue
            assert answer[0] == 1 or answer[1].decode() == position.entry_id, answer
            break
        self.heads[channel] = position
        self.sent.setdefault(channel, []).extend(each.id for each in events)
        self.positions.setdefault(channel, []).append(position)
        return position

    async def lose(self, channel: str, events: int = 1) -> Position:
        """A publication that pub/sub does not bring."""
        return await self.publish(channel, events, live=False)


def ids(events: Iterable[dict[str, Any]]) -> list[int]:
    """Their ids."""
    return [each["id"] for each in events]
