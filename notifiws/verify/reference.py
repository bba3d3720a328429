"""Every event that any client heard, in the order of positions: what each client is held against."""

from collections import defaultdict
from collections.abc import Iterable

from notifiws.verify.history import Event, Place
from notifiws.verify.verdict import Kind, Verdict, Violation


def order(tick: int, event: int) -> int:
    """The sort key of a position inside its epoch, as one number."""
    return tick << 63 | event


def order_of(place: Place) -> int:
    """The same, of a position taken apart."""
    return place[1] << 63 | place[2]


class Reference:
    """`chains[channel, epoch]`: the sorted keys of its events; `events[epoch][id]`: what an event said."""

    def __init__(self, events: Iterable[Event], verdict: Verdict) -> None:
        self.events: dict[str, dict[int, Event]] = defaultdict(dict)
        for event in events:
            known = self.events[event.epoch].setdefault(event.id, event)
            if known is not event and known != event:
                verdict.add(_conflict(known, event))
        self.chains: dict[tuple[str, str], list[int]] = defaultdict(list)
        for epoch, by_id in self.events.items():
            for event in by_id.values():
                self.chains[event.channel, epoch].append(order(event.tick, event.id))
        for chain in self.chains.values():
            chain.sort()
        self.epochs = list(self.events)

    def event(self, epoch: str, key: int) -> Event:
        """The event at a key of a chain."""
        return self.events[epoch][key & (1 << 63) - 1]

    def channel(self, channel: str) -> list[Event]:
        """A channel's events in the order of their positions, epoch after epoch."""
        return [self.event(epoch, key) for epoch in self.epochs for key in self.chains.get((channel, epoch), ())]


def _conflict(one: Event, other: Event) -> Violation:
    moved = (one.tick, one.channel) != (other.tick, other.channel)
    return Violation(
        Kind.DUPLICATED if moved else Kind.CHANGED,
        f"event {one.id} was heard at two positions" if moved else f"event {one.id} was heard with two contents",
        channel=one.channel,
        evidence=(said(one), said(other)),
    )


def said(event: Event) -> str:
    """An event for people."""
    what = "" if event.row is None else f" of row {event.row}, version {event.version}"
    return (
        f"event {event.epoch}:{event.tick}-{event.id} on {event.channel}: {event.op}{what}, stamp {event.stamp}, "
        f"transaction {event.tx}"
    )
