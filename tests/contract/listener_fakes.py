"""Fakes of what the relay asks of the world. They pass the same suites as the adapters; a step hook lets a test stop
the world between any two of their effects."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from listener_service.ports import Append, Cut, LeadershipLost, Mark, Outcome, RedisAway, RedisChanged, Tick, Window
from shared.event import LogRow
from shared.position import Position

AT = datetime(2026, 11, 24, 10, 0, 0, 123456, tzinfo=UTC)

Step = Callable[[str], Awaitable[None]]


async def no_step(name: str) -> None:
    """Let everything pass."""


def row(event: int, channel: str = "sales", payload: str | None = None, **fields: object) -> LogRow:
    """A row of the log: an emitted payload."""
    base: dict[str, object] = {
        "id": event, "tx": "7812", "channel": channel, "op": "emit", "source": None, "key": None, "new": None,
        "old": None, "payload": payload or f'{{"n":{event}}}', "is_json": True, "at": AT,
    }  # fmt: skip
    return LogRow(**(base | fields))  # type: ignore[arg-type]


@dataclass
class RedisModel:
    """What a Redis holds: streams, and every publication that subscribers heard, in order."""

    streams: dict[str, list[tuple[Position, bytes]]] = field(default_factory=dict)
    heard: list[tuple[str, bytes]] = field(default_factory=list)
    mark: Mark | None = None
    away: RedisAway | None = None
    most: int = 10**12  # bytes of a publication, as proto-max-bulk-len and maxmemory allow them
    incarnation: int = 0
    past: list[tuple[dict[str, list[tuple[Position, bytes]]], Mark | None]] = field(default_factory=list)

    def wipe(self) -> None:
        """Lose everything."""
        self.streams.clear()
        self.mark = None

    def remember(self) -> None:
        """Before each write: what it would be after a restart that loses this one."""
        self.past.append(({channel: list(stream) for channel, stream in self.streams.items()}, self.mark))

    def lose(self, writes: int) -> None:
        """Restart, or let a replica take over, without the latest few writes."""
        self.incarnation += 1
        if writes:
            self.streams, self.mark = self.past[-writes]
            del self.past[-writes:]


class FakePublisher:
    """One client of that Redis."""

    def __init__(self, redis: RedisModel, epoch: str = "e1", step: Step = no_step) -> None:
        self.redis, self.epoch, self.step = redis, epoch, step
        self.incarnation: int | None = None

    async def begin(self) -> Mark | None:
        """See Publisher."""
        await self._reach("begin")
        self.incarnation = self.redis.incarnation
        return self.redis.mark

    async def renew(self) -> Mark | None:
        """See Publisher."""
        await self._reach("renew")
        self.incarnation = self.redis.incarnation
        return self.redis.mark

    async def append(self, appends: Sequence[Append]) -> list[Outcome]:
        """See Publisher."""
        outcomes = []
        for append in appends:
            await self._reach("append")
            self._same()
            if len(append.data) > self.redis.most:
                raise RedisAway("invalid bulk length")
            stream = self.redis.streams.setdefault(append.channel, [])
            head = stream[-1][0] if stream else Position.origin(self.epoch)
            if head == append.expected:
                assert append.position > head, "Redis refuses an id that is not above the head"
                self.redis.remember()
                stream.append((append.position, append.data))
                self.redis.heard.append((append.channel, append.data))
                outcomes.append(Outcome(True, append.position))
            else:
                outcomes.append(Outcome(False, head))
        await self._reach("appended")
        return outcomes

    async def mark(self, mark: Mark, *, after: int = 0, mended: bool = False) -> None:
        """See Publisher."""
        await self._reach("mark")
        self._same()
        if after and (self.redis.mark is None or self.redis.mark.tick < after):
            raise RedisChanged("emptied")
        if (
            self.redis.mark is None
            or (self.redis.mark.tick, self.redis.mark.floor) < (mark.tick, mark.floor)
            or (mended and self.redis.mark.tick == mark.tick)
        ):
            self.redis.remember()
            self.redis.mark = mark
        await self._reach("marked")

    async def marked(self) -> Mark | None:
        """See Publisher."""
        await self._reach("ask mark")
        return self.redis.mark

    async def probe(self) -> None:
        """See Publisher."""
        await self._reach("probe")

    def _same(self) -> None:
        if self.incarnation != self.redis.incarnation:
            raise RedisChanged("another one")

    async def _reach(self, name: str) -> None:
        await self.step(name)
        if self.redis.away:
            raise self.redis.away


@dataclass
class LogModel:
    """What a Postgres holds: committed rows in the order of their visibility, and ticks over them."""

    committed: list[LogRow] = field(default_factory=list)
    ticks: list[tuple[int, int]] = field(default_factory=list)  # slices of `committed`
    leader: object = None

    def rows_of(self, number: int) -> list[LogRow]:
        """A tick's rows in id order."""
        start, end = self.ticks[number - 1]
        return sorted(self.committed[start:end], key=lambda row: row.id)


class FakeLog:
    """One session. It leads from its making until another one is made."""

    def __init__(self, model: LogModel, step: Step = no_step, page: int = 2, big: int = 1000) -> None:
        self.model, self.step, self.page, self.big = model, step, page, big
        model.leader = self

    async def last_tick(self) -> Tick | None:
        """See Log."""
        await self._reach("last tick")
        return Tick(len(self.model.ticks), AT) if self.model.ticks else None

    async def cut(self) -> Cut | None:
        """See Log."""
        await self._reach("cut")
        start = self.model.ticks[-1][1] if self.model.ticks else 0
        if start == len(self.model.committed):
            return None
        self.model.ticks.append((start, len(self.model.committed)))
        number = len(self.model.ticks)
        await self._reach("was cut")
        rows = self.model.rows_of(number)
        return Cut(Tick(number, AT), rows if len(rows) <= self.big else None)

    @asynccontextmanager
    async def pages(self, tick: Tick, after: int) -> AsyncIterator[AsyncIterator[Sequence[LogRow]]]:
        """See Log."""

        async def pages() -> AsyncIterator[Sequence[LogRow]]:
            rows = [row for row in self.model.rows_of(tick.number) if row.id > after]
            for start in range(0, len(rows), self.page):
                await self._reach("page")
                yield rows[start : start + self.page]

        await self._reach("open pages")
        yield pages()

    async def window(self, seconds: float) -> Window:
        """See Log."""
        await self._reach("window")
        return Window(1, 0, 0)

    async def tick(self, number: int) -> Tick | None:
        """See Log."""
        await self._reach("tick")
        return Tick(number, AT) if number <= len(self.model.ticks) else None

    async def adopt(self, payloads: Sequence[tuple[str, str]]) -> None:
        """See Log."""
        await self._reach("adopt")
        for channel, payload in payloads:
            self.model.committed.append(row(len(self.model.committed) + 1, channel, payload, op="notify"))

    async def confirm(self) -> None:
        """See Log."""
        await self._reach("confirm")

    async def _reach(self, name: str) -> None:
        await self.step(name)
        if self.model.leader is not self:
            raise LeadershipLost("the session is gone")


class FakeDoorbell:
    """Falls asleep when asked and calls `idle` instead of waiting."""

    def __init__(self, idle: Callable[[], None], grant: bool = True) -> None:
        self.idle, self.grant, self.asleep = idle, grant, False

    async def fall_asleep(self) -> bool:
        """See Doorbell."""
        self.asleep = self.grant
        return self.grant

    async def wait(self, seconds: float) -> None:
        """See Doorbell."""
        self.idle()

    def wake_up(self) -> None:
        """See Doorbell."""
        self.asleep = False


class FakeAdopted:
    """A queue of payloads."""

    def __init__(self, *payloads: tuple[str, str]) -> None:
        self.payloads = list(payloads)

    def take(self) -> Sequence[tuple[str, str]]:
        """See Adopted."""
        return self.payloads[:10]

    def taken(self) -> None:
        """See Adopted."""
        del self.payloads[:10]
