"""The whole path in miniature, to be explored step by step: writers, a log, two listeners, Redis, a node, a client.

What decides about right and wrong is the product's own code: `Heads` and `Batch` in the listeners, `Feed` and `step` in
the node. What they run between (transactions and snapshots, the leader lock, Redis' script, pub/sub, and the order in
which the relay, the broker and a resume go about it) is modelled here, one atomic effect an action. There is one
channel; the first listener makes publications of one event, the second of up to two.

An action is enabled or not, and what it does is certain; all chance lies in which one comes next. Faults are actions of
which there are only so many. A world pickles, and equal bytes are equal worlds.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from unittest import mock

from listener_service.cut import Batch
from listener_service.heads import Found, Heads
from listener_service.ports import Append, LeadershipLost, Mark, Outcome, Overtaken, Tick
from shared.codes import Lost
from shared.event import LogRow
from shared.position import Position
from shared.publication import Publication, split
from ws_service.chain import Step, step
from ws_service.feed import Feed

CHANNEL, EPOCH = "sales", "e"
EVENTS_A_PART = {"a": 1, "b": 2}
_AT = datetime(2026, 11, 24, tzinfo=UTC)
ORIGIN = Position.origin(EPOCH)


class Violation(AssertionError):
    """Something that must never be, was."""


@dataclass
class Transaction:
    """Writes its events one by one, once those that it waits for are over (it wants their rows), then ends."""

    events: int
    after: tuple[int, ...] = ()
    commits: bool = True
    ids: list[int] = field(default_factory=list)
    over: bool = False


class Database:
    """Transactions, the log, ticks, the leader lock. A tick's snapshot is the set of transactions it sees."""

    def __init__(self, transactions: list[Transaction]) -> None:
        self.transactions = transactions
        self.ids = 0
        self.ticks: list[frozenset[int]] = [frozenset()]
        self.leader: str | None = None

    @property
    def visible(self) -> frozenset[int]:
        """What a snapshot of this moment sees."""
        return frozenset(n for n, each in enumerate(self.transactions) if each.over and each.commits)

    def write(self, number: int) -> None:
        """The next event of a transaction, with the next id, or its end."""
        transaction = self.transactions[number]
        if len(transaction.ids) < transaction.events:
            self.ids += 1
            transaction.ids.append(self.ids)
        else:
            transaction.over = True

    def may_write(self, number: int) -> bool:
        """Whether a transaction is neither over nor waiting for a row."""
        transaction = self.transactions[number]
        return not transaction.over and all(self.transactions[n].over for n in transaction.after)

    def uncut(self) -> list[int]:
        """The events that the next cut would bring: what is visible now and was not to the last tick, by id."""
        return self._events(self.visible - self.ticks[-1])

    def cut(self) -> None:
        """Make them the next tick, durably."""
        self.ticks.append(self.visible)

    def rows(self, tick: int) -> list[LogRow]:
        """A tick's rows, the same whenever they are asked for."""
        return [
            LogRow(event, "1", CHANNEL, "emit", None, None, None, None, "0", True, _AT)
            for event in self._events(self.ticks[tick] - self.ticks[tick - 1])
        ]

    def positions(self) -> list[Position]:
        """Where every event that was cut stands, in order."""
        return [Position(EPOCH, tick, row.id) for tick in range(1, len(self.ticks)) for row in self.rows(tick)]

    def before(self, event: int) -> set[int]:
        """The events that the writer of `event` could see when it wrote it, or had written itself."""
        (writer,) = (each for each in self.transactions if event in each.ids)
        seen = {id for n in writer.after for id in self.transactions[n].ids if self.transactions[n].commits}
        return seen | {id for id in writer.ids if id < event}

    def _events(self, transactions: frozenset[int]) -> list[int]:
        return sorted(id for n in transactions for id in self.transactions[n].ids)


class Redis:
    """One stream, the mark, and what it was before the latest writes: a restart may lose them, in order."""

    def __init__(self) -> None:
        self.stream: list[tuple[Position, bytes]] = []
        self.mark: Mark | None = None
        self.past: list[tuple[list[tuple[Position, bytes]], Mark | None]] = []
        self.subscribed = True
        self.wire: list[bytes] = []

    @property
    def head(self) -> Position:
        """The stream's last position."""
        return self.stream[-1][0] if self.stream else ORIGIN

    def append(self, append: Append) -> Outcome:
        """What the script does."""
        if self.head != append.expected:
            return Outcome(False, self.head)
        if append.position <= self.head:
            raise Violation("an id that is not above the head")
        self._remember()
        self.stream.append((append.position, append.data))
        if self.subscribed:
            self.wire.append(append.data)
        return Outcome(True, append.position)

    def set_mark(self, mark: Mark) -> None:
        """A mark behind the present one changes nothing."""
        if self.mark is None or self.mark < mark:
            self._remember()
            self.mark = mark

    def beyond(self, position: Position) -> list[Publication]:
        """A read of the stream."""
        return [Publication(data) for at, data in self.stream if at > position]

    def lose(self) -> None:
        """Restart without the latest write. Connections break."""
        self.stream, self.mark = self.past.pop()
        self.cut_subscriber()

    def cut_subscriber(self) -> None:
        """The node's pub/sub connection breaks, with what is on its way."""
        self.subscribed = False
        self.wire.clear()

    def _remember(self) -> None:
        self.past = [*self.past[-1:], (list(self.stream), self.mark)]


@contextmanager
def parts_of(events: int) -> Iterator[None]:
    """Publications of at most that many events."""
    with mock.patch("listener_service.cut.split", lambda found: split(found, max_events=events)):
        yield


class Relay:
    """A listener: what `relay.py` does, an effect at a time."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stand_by()

    def stand_by(self) -> None:
        """Know nothing, lead nothing."""
        self.role = "standby"
        self.heads = Heads(EPOCH)
        self.batch: Batch | None = None
        self.tick = self.completed = 0
        self.cut_off = False

    def begin(self, database: Database, redis: Redis) -> None:
        """Take up the last tick where the former leader may have left it."""
        self.heads = Heads(EPOCH)
        marked = redis.mark
        if marked is not None and marked.floor:
            self.heads.distrust(marked.floor)
        self.tick = len(database.ticks) - 1
        if marked is not None and marked.tick > self.tick:
            raise Overtaken
        self.role = "idle"
        if self.tick == 0:
            return
        self.completed = self.tick - 1
        self.check(redis)
        if marked is None or marked.tick < self.tick:
            self._take(database)
        else:
            self.role = "mark"

    def cut(self, database: Database) -> None:
        """Cut the next tick."""
        database.cut()
        self.tick = len(database.ticks) - 1
        self._take(database)

    def publish(self, database: Database, redis: Redis) -> None:
        """One append, and its answer. Raises LeadershipLost."""
        assert self.batch is not None
        with parts_of(EVENTS_A_PART[self.name]):
            appends = self.batch.appends()
        if not appends:
            self.role, self.batch = "mark", None
            return
        found = self.batch.settle(appends[:1], [redis.append(appends[0])])
        if Found.BEHIND in found.values():
            self._lost()
            if database.leader != self.name:
                raise LeadershipLost

    def complete(self, redis: Redis) -> None:
        """Mark the tick."""
        redis.set_mark(Mark(self.tick, self.heads.floor))
        self.completed, self.role = self.tick, "idle"

    def renew(self, database: Database, redis: Redis) -> None:
        """Redis is another process than before: what it acknowledged of this tick may be gone."""
        self.check(redis)
        self.heads.withdraw(self.tick)
        if self.role in ("publish", "mark"):
            self._take(database)

    def check(self, redis: Redis) -> None:
        """Compare the mark with what was completed."""
        if self.completed > self.heads.floor and (redis.mark is None or redis.mark.tick < self.completed):
            self._lost()

    def _take(self, database: Database) -> None:
        self.batch, self.role = Batch(Tick(self.tick, _AT), database.rows(self.tick), self.heads), "publish"

    def _lost(self) -> None:
        if self.completed > self.heads.floor:
            self.heads.distrust(self.completed)


class Client:
    """What a person's screen does with frames; it knows nothing but them. `told`: it had to fetch afresh."""

    def __init__(self) -> None:
        self.told = False
        self.position = self.base = ORIGIN
        self.applied: list[int] = []
        self.attached = True
        self.resuming: list[Publication] | None = None

    def take(self, publication: Publication) -> None:
        """An `events` frame."""
        if publication.prev > self.position:
            raise Violation(f"a gap: {publication.prev} after {self.position}")
        self.applied += [event.id for event in publication.events(self.position)]
        self.position = publication.position

    def reset(self, position: Position) -> None:
        """Fetch afresh: what is up to `position` is on the screen then."""
        self.position = self.base = position
        self.applied = []
        self.told = True


class Node:
    """Broker, feed, hub, and the resume of its one client."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.feed = Feed(CHANNEL, self)
        self.feed.begin(ORIGIN, None)
        self.feed.confirm()
        self.feed.settle(self.feed.confirmations)
        self.reading: tuple[int, Position | None, list[Publication]] | None = None

    # What the hub does

    def publish(self, channel: str, publication: Publication, after: Position) -> None:
        """See Sink."""
        if self.client.attached:
            self.client.take(publication)

    def reset(self, channel: str, reason: Lost, position: Position) -> None:
        """See Sink."""
        if self.client.attached:
            self.client.reset(position)

    # What the broker does

    def read(self, redis: Redis) -> None:
        """Begin a repair: the stream beyond the head, as it is now."""
        assert self.feed.head is not None
        self.reading = (self.feed.confirmations, self.feed.behind, redis.beyond(self.feed.head))

    def mend(self, redis: Redis) -> None:
        """Take in what was read."""
        assert self.reading is not None
        confirmations, behind, page = self.reading
        self.reading = None
        whole = self.feed.apply(page)
        if not whole or (behind is not None and behind == self.feed.behind):
            head = max(redis.head, behind or ORIGIN, key=lambda position: position.order)
            assert self.feed.head is not None
            if self.feed.head < head:
                self.feed.begin(head, Lost.EXPIRED)
        self.feed.settle(confirmations)

    # What a resume does

    def resume(self, redis: Redis) -> None:
        """Pull the stream beyond the client's position."""
        self.client.resuming = redis.beyond(self.client.position)

    def catch_up(self, redis: Redis) -> None:
        """Give the client what was pulled; attach it where it meets the head."""
        client, head = self.client, self.feed.head
        assert head is not None
        page, client.resuming = client.resuming or [], None
        for publication in page:
            if client.position == head:
                break
            if step(client.position, publication) is not Step.NEXT:
                self._restart()
                return
            client.take(publication)
        if client.position == head:
            client.attached = True
        elif client.position > head and not page and self._lost(redis):
            self._restart()
        elif client.position < head and not page and not redis.beyond(client.position):
            self._restart()  # what the head stands on is gone from the stream

    def may_catch_up(self, redis: Redis) -> bool:
        """Whether there is anything to do: not while the node is behind the stream, or the mark behind the client."""
        client, head = self.client, self.feed.head
        assert head is not None
        return bool(client.resuming) or client.position <= head or self._lost(redis)

    def _lost(self, redis: Redis) -> bool:
        """Whether Redis will not get to the client's position again."""
        mark = redis.mark
        return mark is not None and mark.floor >= self.client.position.tick and redis.head < self.client.position

    def _restart(self) -> None:
        assert self.feed.head is not None
        self.client.reset(self.feed.head)
        self.client.attached = True


class World:
    """All of it, with a stock of faults by name."""

    def __init__(self, transactions: list[Transaction], faults: dict[str, int]) -> None:
        self.database = Database(transactions)
        self.redis = Redis()
        self.relays = [Relay("a"), Relay("b")]
        self.client = Client()
        self.node = Node(self.client)
        self.faults = faults
        self.lossless = "lose" not in faults

    def actions(self) -> Iterator[tuple[str, Callable[["World"], None]]]:
        """What may happen next without a fault."""
        for number in range(len(self.database.transactions)):
            if self.database.may_write(number):
                yield f"transaction {number} writes or ends", lambda w, n=number: w.database.write(n)
        for number, relay in enumerate(self.relays):
            if (name := self._next(relay)) is not None:
                yield f"{relay.name}: {name}", lambda w, n=number: w.relay(w.relays[n])
        feed = self.node.feed
        if not feed.confirmed:
            yield "the subscription is confirmed", World.confirm
        elif self.redis.wire:
            yield "a message arrives", World.deliver
        if feed.confirmed and not feed.live and self.node.reading is None:
            yield "the node reads", lambda w: w.node.read(w.redis)
        if self.node.reading is not None:
            yield "the node mends", lambda w: w.node.mend(w.redis)
        if not self.client.attached and feed.live:
            if self.client.resuming is None:
                if self.node.may_catch_up(self.redis) or self.redis.beyond(self.client.position):
                    yield "the client resumes", lambda w: w.node.resume(w.redis)
            elif self.node.may_catch_up(self.redis) or not self.client.resuming:
                yield "the client catches up", lambda w: w.node.catch_up(w.redis)

    def mishaps(self) -> Iterator[tuple[str, Callable[["World"], None]]]:
        """Which faults may happen now."""
        for number, relay in enumerate(self.relays):
            if self.faults.get("crash") and relay.role != "standby":
                yield f"{relay.name} is killed", lambda w, n=number: w.crash(w.relays[n])
            if self.faults.get("depose") and self.database.leader == relay.name:
                yield f"{relay.name} loses the lock and does not know", World.depose
        if self.faults.get("drop") and len(self.redis.wire) > 1:
            yield "a message is lost", World.drop
        if self.faults.get("cut") and self.redis.subscribed:
            yield "the subscription is cut", World.cut
        if self.faults.get("leave") and self.client.attached:
            yield "the client drops", World.leave
        if self.faults.get("lose") and self.redis.past:
            yield "Redis loses its latest write", World.lose

    # Steps

    def _next(self, relay: Relay) -> str | None:
        leads = self.database.leader == relay.name
        match relay.role:
            case "standby":
                return "takes the lock" if self.database.leader is None else None
            case "idle":
                if relay.cut_off:
                    return "finds Redis restarted"
                return "cuts" if not leads or self.database.uncut() else None
            case role:
                return "finds Redis restarted" if relay.cut_off else role

    def relay(self, relay: Relay) -> None:
        """A listener's next effect."""
        leads = self.database.leader == relay.name
        try:
            if relay.role == "standby":
                self.database.leader, relay.role = relay.name, "begin"
            elif relay.cut_off:
                relay.cut_off = False
                if relay.role != "begin":
                    relay.renew(self.database, self.redis)
            elif relay.role in ("begin", "idle") and not leads:
                raise LeadershipLost
            elif relay.role == "begin":
                relay.begin(self.database, self.redis)
            elif relay.role == "idle":
                relay.cut(self.database)
            elif relay.role == "publish":
                relay.publish(self.database, self.redis)
            else:
                relay.complete(self.redis)
        except LeadershipLost:
            self.crash(relay)
            self.faults["crash"] = self.faults.get("crash", 0) + 1  # it was none

    def crash(self, relay: Relay) -> None:
        """It begins anew; its session, and the lock with it, is gone."""
        self.faults["crash"] = self.faults.get("crash", 0) - 1
        if self.database.leader == relay.name:
            self.database.leader = None
        relay.stand_by()

    def depose(self) -> None:
        """The leader's session is gone, as after a freeze; the process goes on with what it has in hand."""
        self.faults["depose"] -= 1
        self.database.leader = None

    def confirm(self) -> None:
        """The node's subscription stands (again)."""
        self.redis.subscribed = True
        self.node.feed.confirm()

    def deliver(self) -> None:
        """The oldest message on the wire."""
        self.node.feed.receive(Publication(self.redis.wire.pop(0)))

    def drop(self) -> None:
        """It never arrives and nobody is told, but the next one does: else only a broken connection loses one."""
        self.faults["drop"] -= 1
        self.redis.wire.pop(0)

    def cut(self) -> None:
        """The pub/sub connection breaks, and the node sees it."""
        self.faults["cut"] -= 1
        self.redis.cut_subscriber()
        self.node.feed.deafen()

    def leave(self) -> None:
        """The client's connection breaks. It keeps its position."""
        self.faults["leave"] -= 1
        self.client.attached = False
        self.client.resuming = None

    def lose(self) -> None:
        """Redis crashes, and what it had not yet saved is gone."""
        self.faults["lose"] -= 1
        self.redis.lose()
        self.node.feed.deafen()
        for relay in self.relays:
            relay.cut_off = relay.role != "standby"

    # What must hold

    def check(self) -> None:
        """In every world. Raises Violation."""
        applied, truth = self.client.applied, self.database.positions()
        if self.client.told and self.lossless:
            raise Violation("told to fetch afresh, where nothing was lost")
        if len(set(applied)) < len(applied):
            raise Violation(f"twice: {applied}")
        known = {position.event for position in truth if position <= self.client.base} | set(applied)
        for place, event in enumerate(applied):
            transaction = next(each for each in self.database.transactions if event in each.ids)
            if not transaction.over or not transaction.commits:
                raise Violation(f"event {event} was never committed")
            if missing := self.database.before(event) - (known - set(applied[place:])):
                raise Violation(f"event {event} before {missing}, which its writer saw")

    def check_end(self) -> None:
        """Where nothing can happen any more but faults. Raises Violation."""
        expected = [position.event for position in self.database.positions() if position > self.client.base]
        if not self.client.attached:
            raise Violation("the client never gets live again")
        if self.database.uncut():
            raise Violation(f"never cut: {self.database.uncut()}")
        if self.client.applied != expected:
            raise Violation(f"the client has {self.client.applied}, the truth is {expected}")
