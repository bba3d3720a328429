"""Holds each client against the rules of the protocol and against the reference: what it should have heard, it heard.

Per client and channel: positions never go backwards, no frame begins beyond the position (a gap), each event beyond it
comes once and in order, and between two positions that the client went through nothing of the reference is missing.
Told to fetch afresh, it starts again from the place it was given; that is counted, and no violation.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable

from notifiws.verify.history import (
    Asked,
    Ended,
    Frame,
    Place,
    Record,
    Reset,
    Subscribed,
    Truth,
    Waited,
    Who,
    written,
)
from notifiws.verify.reference import Reference, order, order_of, said
from notifiws.verify.verdict import Kind, Verdict, Violation

# An interval of one epoch that a client went through whole: epoch, from (exclusive), to (inclusive).
Covered = tuple[str, int, int]
_NOTHING: list[int] = []


class Chain:
    """One client in one channel."""

    def __init__(self, who: Who, channel: str, reference: Reference, verdict: Verdict) -> None:
        self.who = who
        self.channel = channel
        self._reference = reference
        self._verdict = verdict
        self._asked: Asked | None = None
        self._before: Record | None = None
        self._epoch = ""
        # Where the client stands; None while it stands nowhere.
        self._at: int | None = None
        self._keys = _NOTHING
        self._next = 0
        self._intervals: list[tuple[str, int, int]] = []
        self.told = 0

    @property
    def covered(self) -> list[Covered]:
        """What the client went through without being told of a hole."""
        return self._intervals

    def take(self, record: Asked | Subscribed | Frame | Reset) -> None:
        """The next record of this channel."""
        match record:
            case Frame():
                self._frame(record)
            case Asked():
                self._asked = record
                # Until the answer it stands nowhere; what it had covered stays.
                self._at = None
            case Subscribed():
                self._subscribed(record)
            case Reset():
                self._reset(record)
        self._before = record

    def _subscribed(self, record: Subscribed) -> None:
        asked = self._asked
        since = asked.since if asked else None
        if since is not None:
            if record.recovered is None:
                self._violated(Kind.STALE, record, f"`since` {written(since)} was ignored")
            elif record.recovered and record.place != since:
                self._violated(
                    Kind.STALE, record, f"resumed at {written(record.place)} and not at {written(since)} as asked"
                )
            elif not record.recovered:
                self._tell(record.reason or "?")
                if record.reason == "expired" and record.place[0] == since[0] and record.place[1:] < since[1:]:
                    self._violated(Kind.STALE, record, f"told to go on from before its position {written(since)}")
        if record.head[0] == record.place[0] and record.head[1:] < record.place[1:]:
            self._violated(Kind.STALE, record, f"head {written(record.head)} is before {written(record.place)}")
        self._stand(record.place)

    def _reset(self, record: Reset) -> None:
        self._tell(record.reason)
        if self._at is not None and record.place[0] == self._epoch and order_of(record.place) < self._at:
            self._violated(Kind.STALE, record, f"reset to {written(record.place)}, before the client's position")
        self._stand(record.place)

    def _tell(self, reason: str) -> None:
        self.told += 1
        self._verdict.told[reason] += 1

    def _stand(self, place: Place) -> None:
        """Go on from here: inside what is covered already, or in a new interval."""
        self._epoch, self._at = place[0], order_of(place)
        self._keys = self._reference.chains.get((self.channel, place[0]), _NOTHING)
        self._next = bisect_right(self._keys, self._at)
        if self._intervals:
            epoch, low, high = self._intervals[-1]
            if epoch == self._epoch and low <= self._at <= high:
                return
        self._intervals.append((self._epoch, self._at, self._at))

    def _frame(self, frame: Frame) -> None:
        at, place = self._at, frame.place
        if at is None:
            self._violated(Kind.GAP, frame, "events without a subscription that stands")
            return
        if place[0] != self._epoch:
            self._violated(Kind.GAP, frame, f"events of epoch {place[0]}, and no reset")
            self._stand(frame.prev or place)
            at = self._at
            assert at is not None
        prev = frame.prev
        if prev is not None and (prev[0] != self._epoch or order_of(prev) > at):
            self._violated(
                Kind.GAP, frame, f"a frame continues {written(prev)}, and the client stands at {self._place}"
            )
        to = order_of(place)
        if to < at or (to == at and frame.ids):
            # Whole frames that come again are told by their events.
            if not frame.ids:
                self._violated(Kind.STALE, frame, f"position {written(place)} is before the client's {self._place}")
        elif frame.ids and frame.ids[-1] != place[2]:
            self._violated(
                Kind.STALE, frame, f"position {written(place)} is not that of the last event, {frame.ids[-1]}"
            )
        self._events(frame, at)
        if to > at:
            self._missing(to, frame)
            self._at = to
            epoch, low, high = self._intervals[-1]
            if to > high:
                self._intervals[-1] = (epoch, low, to)

    def _events(self, frame: Frame, at: int) -> None:
        keys, index = self._keys, self._next
        base, size, last = order(frame.place[1], 0), len(keys), -1
        for event in frame.ids:
            key = base | event
            if index < size and keys[index] == key and event > last:
                index += 1
                last = event
                continue
            self._next = index
            if event <= last:
                self._violated(Kind.REORDERED, frame, f"event {event} comes after event {last} in one frame")
            elif key <= at:
                self._violated(
                    Kind.DUPLICATED, frame, f"event {event} came again: the client stands at {self._place}", key
                )
            else:
                self._missing(key - 1, frame)
                if self._next < size and keys[self._next] == key:
                    self._next += 1
                last = event
            index = self._next
        self._next = index

    def _missing(self, to: int, frame: Frame) -> None:
        """What of the reference lies up to `to` and did not come."""
        while self._next < len(self._keys) and self._keys[self._next] <= to:
            key = self._keys[self._next]
            self._next += 1
            event = self._reference.event(self._epoch, key)
            self._violated(Kind.LOST, frame, f"event {event.id} was not delivered, others heard it", key)

    @property
    def _place(self) -> str:
        at = self._at or 0
        return f"{self._epoch}:{at >> 63}-{at & (1 << 63) - 1}"

    def _violated(self, kind: Kind, record: Subscribed | Frame | Reset, text: str, key: int | None = None) -> None:
        evidence = []
        if key is not None and (event := self._reference.events[self._epoch].get(key & (1 << 63) - 1)):
            evidence.append(said(event))
        evidence += [shown(each) for each in (self._asked, self._before, record) if each is not None]
        self._verdict.add(Violation(kind, text, self.who.name, self.channel, record.at, tuple(dict.fromkeys(evidence))))


def check_client(
    who: Who,
    records: Iterable[Record],
    reference: Reference,
    verdict: Verdict,
    *,
    truth_of: Callable[[str, int], Truth | None] = lambda channel, stamp: None,
    watch: Callable[[Frame], None] | None = None,
) -> dict[str, Chain]:
    """Check all that one client heard. `watch` sees each frame; `truth_of` finds the change that was waited for."""
    chains: dict[str, Chain] = {}
    seen = verdict.seen
    for record in records:
        match record:
            case Frame():
                seen["frames"] += 1
                seen["deliveries"] += len(record.ids)
                if watch is not None and record.ids:
                    watch(record)
            case Asked():
                seen["resumes" if record.since else "subscriptions"] += 1
            case Ended():
                seen["connections"] += 1
                continue
            case Waited():
                seen["waits"] += 1
                if not record.came:
                    verdict.add(_never_came(who, record, truth_of(record.channel, record.stamp)))
                continue
            case _:
                pass
        chain = chains.get(record.channel)
        if chain is None:
            chain = chains[record.channel] = Chain(who, record.channel, reference, verdict)
        chain.take(record)
    return chains


def _never_came(who: Who, waited: Waited, truth: Truth | None) -> Violation:
    what = () if truth is None else (told(truth),)
    text = f"stamp {waited.stamp} did not arrive within {waited.seconds:.0f} s"
    return Violation(Kind.LOST, text, who.name, waited.channel, waited.at, what)


def told(truth: Truth) -> str:
    """A committed change for people."""
    what = "" if truth.row is None else f" of row {truth.row}, version {truth.version}"
    return (
        f"committed: {truth.op}{what} for {truth.channel}, stamp {truth.stamp}, transaction {truth.tx}, "
        f"change {truth.number}, could see {truth.snapshot}"
    )


def shown(record: Record) -> str:
    """A record for people."""
    match record:
        case Asked(at, channel, since, node):
            return f"{at:9.3f} s  → {node} subscribe {channel}" + (f" since {written(since)}" if since else "")
        case Subscribed(at, channel, place, head, recovered, reason):
            how = "" if recovered is None else f", recovered {str(recovered).lower()}"
            return f"{at:9.3f} s  ← subscribed {channel} at {written(place)}, head {written(head)}{how}" + (
                f", {reason}" if reason else ""
            )
        case Frame(at, channel, prev, place, ids):
            some = ", ".join(map(str, ids if len(ids) < 7 else [*ids[:3], "…", *ids[-3:]]))
            return f"{at:9.3f} s  ← events {channel} {written(prev)} → {written(place)} [{some}]"
        case Reset(at, channel, place, reason):
            return f"{at:9.3f} s  ← reset {channel} to {written(place)}, {reason}"
        case Ended(at, why):
            return f"{at:9.3f} s  connection over: {why}"
        case Waited(at, channel, stamp, seconds, came):
            return f"{at:9.3f} s  waited {seconds:.1f} s for stamp {stamp} on {channel}: {'came' if came else 'not'}"
