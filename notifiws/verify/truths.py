"""Holds what was heard against the tables: every committed change once, nothing else, in an order that is right.

What nobody heard is lost, unless every client that could have heard it was told to fetch afresh at that place. The
place of a change that nobody heard is known by its transaction: positions begin with the tick that first saw it.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from notifiws.verify.chains import Chain, told
from notifiws.verify.history import Event, Final, Tick, Truth
from notifiws.verify.reference import Reference, said
from notifiws.verify.verdict import Kind, Verdict, Violation
from notifiws.verify.visible import LastPlaces, Snapshot, parse


class Truths:
    """The committed changes of a run, and the events that carried them."""

    def __init__(self, truths: Iterable[Truth], reference: Reference, verdict: Verdict) -> None:
        self._reference = reference
        self._verdict = verdict
        self.all = list(truths)
        verdict.seen["changes"] = len(self.all)
        self._by_stamp: dict[tuple[str, int], Truth] = {(truth.op, truth.stamp): truth for truth in self.all}
        self._stamps: dict[int, Truth] | None = None
        # The index in its channel's order of what carried each change.
        self.place: dict[tuple[str, int], int] = {}

    def find(self, channel: str, stamp: int) -> Truth | None:
        """The change with this stamp, for evidence."""
        if self._stamps is None:
            self._stamps = {truth.stamp: truth for truth in self.all}
        truth = self._stamps.get(stamp)
        return truth if truth is not None and truth.channel == channel else None

    def match(self) -> None:
        """Each event carries one committed change as it was; no two carry the same."""
        verdict = self._verdict
        for channel in sorted({channel for channel, _ in self._reference.chains}):
            carried: dict[tuple[str, int], Event] = {}
            for index, event in enumerate(self._reference.channel(channel)):
                verdict.seen["events"] += 1
                name = (event.op, event.stamp)
                truth = self._by_stamp.get(name)
                if truth is None or truth.channel != channel:
                    self._phantom(event, truth)
                elif (first := carried.get(name)) is not None:
                    verdict.add(_twice(first, event, truth))
                else:
                    carried[name] = event
                    self.place[name] = index
                    if (truth.tx, truth.row, truth.version, truth.size) != (
                        event.tx, event.row, event.version, event.size,
                    ):  # fmt: skip
                        verdict.add(_differs(event, truth))

    def _phantom(self, event: Event, truth: Truth | None) -> None:
        text = f"event {event.id} carries stamp {event.stamp}, " + (
            "which no transaction committed" if truth is None else f"which was committed for channel {truth.channel}"
        )
        self._verdict.add(Violation(Kind.PHANTOM, text, channel=event.channel, evidence=(said(event),)))

    def lost(self, chains: Sequence[Chain], ticks: Iterable[Tick]) -> set[tuple[str, int]]:
        """Changes that nobody heard. Returns those of which clients were told."""
        unheard = [truth for truth in self.all if (truth.op, truth.stamp) not in self.place]
        if not unheard:
            return set()
        tick_of = _ticks(list(ticks))
        by_channel: dict[str, list[Chain]] = defaultdict(list)
        for chain in chains:
            by_channel[chain.channel].append(chain)
        excused = set()
        for truth in unheard:
            tick = tick_of(truth.tx)
            witness, was_told = None, False
            for chain in by_channel[truth.channel]:
                was_told |= bool(chain.told)
                if tick is None or any(low >> 63 < tick < high >> 63 for _, low, high in chain.covered):
                    witness = chain
                    break
            if witness is None and was_told:
                excused.add((truth.op, truth.stamp))
                self._verdict.seen["told_changes"] += 1
                continue
            text = f"change {truth.number} was committed and reached nobody"
            evidence = [told(truth)]
            if tick is None:
                evidence.append("no tick has seen its transaction")
            elif witness is not None:
                evidence.append(f"{witness.who.name} went through tick {tick}, the first that saw it, without a reset")
            else:
                evidence.append(f"tick {tick} was the first that saw it; nobody was told to fetch afresh")
            self._verdict.add(Violation(Kind.LOST, text, channel=truth.channel, evidence=tuple(evidence)))
        return excused

    def ordered(self) -> None:
        """No change before one that it could see: per row, within a transaction, and by snapshots across them."""
        by_channel: dict[str, list[tuple[int, Truth]]] = defaultdict(list)
        for truth in self.all:
            index = self.place.get((truth.op, truth.stamp))
            if index is not None:
                by_channel[truth.channel].append((index, truth))
        for channel, placed in by_channel.items():
            self._rows(channel, placed)
            self._statements(channel, placed)
            self._snapshots(channel, placed)

    def _rows(self, channel: str, placed: Sequence[tuple[int, Truth]]) -> None:
        last: dict[int, tuple[int, Truth]] = {}
        for index, truth in placed:
            if truth.row is None:
                continue
            before = last.get(truth.row)
            if before is not None and before[0] > index:
                self._reordered(channel, before[1], truth, f"of row {truth.row}")
            last[truth.row] = (index, truth)

    def _statements(self, channel: str, placed: Sequence[tuple[int, Truth]]) -> None:
        """`placed` is in the order of changes, so a transaction's statements follow each other."""
        open_: dict[int, tuple[int, int, int, Truth]] = {}  # tx → statement, last of it, last of those before, change
        for index, truth in placed:
            now = open_.get(truth.tx)
            if now is None:
                open_[truth.tx] = (truth.statement, index, -1, truth)
                continue
            statement, last, before, change = now
            if truth.statement != statement:
                before, last = max(before, last), index
                change = now[3] if before > index else truth
            if index < before:
                self._reordered(channel, change, truth, "of one transaction")
            open_[truth.tx] = (truth.statement, max(last, index), before, change if index < before else truth)

    def _snapshots(self, channel: str, placed: Sequence[tuple[int, Truth]]) -> None:
        ends: dict[int, tuple[int, Truth]] = {}
        for index, truth in placed:
            if truth.tx not in ends or ends[truth.tx][0] < index:
                ends[truth.tx] = (index, truth)
        places = LastPlaces({tx: index for tx, (index, _) in ends.items()})
        known: dict[tuple[int, str], int] = {}  # the lowest place with this snapshot: one question for many rows
        for index, truth in placed:
            name = (truth.tx, truth.snapshot)
            if name not in known or index < known[name]:
                known[name] = index
        first = {(truth.tx, truth.snapshot): truth for index, truth in reversed(placed)
                 if known[truth.tx, truth.snapshot] == index}  # fmt: skip
        for (tx, text), index in known.items():
            late = places.beyond(parse(text), tx, index)
            if late is not None:
                self._reordered(channel, ends[late][1], first[tx, text], "which it could see")

    def _reordered(self, channel: str, earlier: Truth, later: Truth, what: str) -> None:
        text = f"change {later.number} came before change {earlier.number} {what}"
        self._verdict.add(Violation(Kind.REORDERED, text, channel=channel, evidence=(told(earlier), told(later))))

    def state(self, finals: Iterable[Final], excused: set[tuple[str, int]]) -> None:
        """Replaying the events of a channel gives the table, but for rows of which clients were told."""
        rows: dict[tuple[str, int], tuple[int | None, int]] = {}
        for channel in {channel for channel, _ in self._reference.chains}:
            for event in self._reference.channel(channel):
                if event.row is None:
                    continue
                if event.op == "delete":
                    rows.pop((channel, event.row), None)
                else:
                    rows[channel, event.row] = (event.version, event.stamp)
        spared = {(truth.channel, truth.row) for truth in self.all if (truth.op, truth.stamp) in excused and truth.row}
        for final in finals:
            self._verdict.seen["rows"] += 1
            name = (final.channel, final.row)
            got = rows.pop(name, None)
            if got != (final.version, final.stamp) and name not in spared:
                self._wrong(final.channel, final.row, f"version {final.version}, stamp {final.stamp}", got)
        for (channel, row), got in rows.items():
            if (channel, row) not in spared:
                self._wrong(channel, row, "no such row", got)

    def _wrong(self, channel: str, row: int, table: str, got: tuple[int | None, int] | None) -> None:
        replayed = "no such row" if got is None else f"version {got[0]}, stamp {got[1]}"
        self._verdict.add(
            Violation(
                Kind.STATE,
                f"row {row} of {channel} is not what its events say",
                channel=channel,
                evidence=(f"table: {table}", f"replayed: {replayed}"),
            )
        )


def _twice(first: Event, again: Event, truth: Truth) -> Violation:
    return Violation(
        Kind.DUPLICATED,
        f"change {truth.number} was carried by two events",
        channel=again.channel,
        evidence=(told(truth), said(first), said(again)),
    )


def _differs(event: Event, truth: Truth) -> Violation:
    return Violation(
        Kind.CHANGED,
        f"event {event.id} does not say what was committed",
        channel=event.channel,
        evidence=(f"{told(truth)}, {truth.size} characters", f"{said(event)}, {event.size} characters"),
    )


def _ticks(ticks: Sequence[Tick]) -> Callable[[int], int | None]:
    """A function from a transaction to the first tick that saw it."""
    snapshots: dict[int, Snapshot] = {}

    def find(tx: int) -> int | None:
        def sees(index: int) -> bool:
            if index not in snapshots:
                snapshots[index] = parse(ticks[index].snapshot)
            return snapshots[index].sees(tx)

        index = bisect_left(range(len(ticks)), True, key=sees)
        return ticks[index].number if index < len(ticks) else None

    return find
