"""Histories made by hand: a little world in which everything goes well, and that tests then break in one place."""

from notifiws.verify.checker import check
from notifiws.verify.history import (
    Asked,
    Commit,
    Event,
    Final,
    Frame,
    Place,
    Record,
    Recorded,
    Subscribed,
    Tick,
    Truth,
    Waited,
    Who,
)
from notifiws.verify.verdict import Verdict

EPOCH, CHANNEL = "e1", "c"


def at(tick: int, event: int, epoch: str = EPOCH) -> Place:
    return epoch, tick, event


class World:
    """Changes of one channel are committed, cut into ticks and heard by clients. Event ids and stamps go up."""

    def __init__(self) -> None:
        self.history = Recorded()
        self.tx = 700
        self.tick = 0
        self.stamp = 0
        self.id = 0
        self.now = 0.0
        self.head = at(0, 0)
        self.rows: dict[int, int] = {}
        self.frames: list[Frame] = []

    def write(self, *rows: int, snapshot: str | None = None, channel: str = CHANNEL) -> list[Event]:
        """One transaction: each row gets its next version, one statement each. Not cut yet."""
        self.tx += 1
        self.now += 0.5
        seen = snapshot or f"{self.tx}:{self.tx}:"
        self.history.commit.append(Commit(self.tx, self.now, self.now + 0.01))
        made = []
        for statement, row in enumerate(rows):
            self.stamp += 1
            self.id += 1
            version = self.rows[row] + 1 if row in self.rows else 0
            self.rows[row] = version
            op = "update" if version else "insert"
            number = len(self.history.truth) + 1
            self.history.truth.append(Truth(number, self.tx, statement, seen, channel, op, self.stamp, row, version, 9))
            self.history.final = [final for final in self.history.final if final.row != row]
            self.history.final.append(Final(channel, row, version, self.stamp))
            made.append(Event(self.id, channel, EPOCH, 0, op, self.tx, self.stamp, row, version, 9))
        return made

    def cut(self, events: list[Event], channel: str = CHANNEL) -> Frame:
        """The next tick: these events, in the order of their ids, one frame."""
        self.tick += 1
        self.now += 0.1
        self.history.tick.append(Tick(self.tick, f"{self.tx + 1}:{self.tx + 1}:"))
        placed = [
            Event(e.id, e.channel, e.epoch, self.tick, e.op, e.tx, e.stamp, e.row, e.version, e.size)
            for e in sorted(events, key=lambda event: event.id)
        ]
        self.history.event += placed
        prev, self.head = self.head, at(self.tick, placed[-1].id)
        frame = Frame(self.now, channel, prev, self.head, [event.id for event in placed])
        self.frames.append(frame)
        return frame

    def step(self, *rows: int) -> Frame:
        """A transaction and its tick."""
        return self.cut(self.write(*rows))

    def client(self, name: str, *records: Record, steady: bool = True) -> None:
        self.history.logs[Who(name, "v1", steady)] = list(records)

    def heard(self, name: str, *frames: Frame, since: Place | None = None) -> None:
        """A client that subscribed before the first of these frames (all of them) and heard them."""
        frames = frames or tuple(self.frames)
        start = since or frames[0].prev
        assert start is not None
        self.client(name, *subscribe(start, since=since), *frames)

    def check(self) -> Verdict:
        return check(self.history).verdict


def subscribe(
    place: Place, *, since: Place | None = None, recovered: bool | None = None, reason: str | None = None,
    head: Place | None = None, now: float = 0.0,
) -> list[Record]:  # fmt: skip
    """What a client asks, and the answer."""
    if since is not None and recovered is None:
        recovered = True
    return [Asked(now, CHANNEL, since, "node 1"), Subscribed(now, CHANNEL, place, head or place, recovered, reason)]


def without(frame: Frame, *ids: int) -> Frame:
    """The same frame without some of its events."""
    return Frame(frame.at, frame.channel, frame.prev, frame.place, [each for each in frame.ids if each not in ids])


def waited(stamp: int, came: bool) -> Waited:
    return Waited(9.0, CHANNEL, stamp, 5.0, came)
