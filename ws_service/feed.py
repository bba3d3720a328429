"""One channel on this node: where it stands, and whether its pub/sub subscription can be relied on. No I/O.

The broker feeds it with what arrives live and with what it reads from the stream; the feed passes each publication to
the hub exactly once and in order, or says what has to be read.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from shared.codes import Lost
from shared.position import Position
from shared.publication import Publication
from ws_service.chain import Step, step


class Sink(Protocol):
    """Where a feed's publications go: the hub."""

    def publish(self, channel: str, publication: Publication, after: Position) -> None:
        """Deliver what of `publication` lies beyond `after`."""

    def reset(self, channel: str, reason: Lost, position: Position) -> None:
        """History is broken for everyone attached; what follows goes on from `position`."""


class Feed:
    """States: not confirmed (deaf) → confirmed, reading → live. A confirmation, first or repeated, means: read."""

    def __init__(self, channel: str, sink: Sink) -> None:
        self.channel = channel
        self.head: Position | None = None
        self.users = 0
        self.live = False
        # Raised by each confirmation: a read that began earlier proves nothing about what was missed.
        self.confirmations = 0
        self.confirmed = False
        self.foreign = False
        # Known for certain: no publication lies beyond this position in ticks up to this one.
        self.quiet: tuple[Position, int] | None = None
        self._behind: Position | None = None
        self._sink = sink
        self._moved: set[asyncio.Future[None]] = set()

    def confirm(self) -> None:
        """The server confirmed the subscription: what was published before may have been missed."""
        self.confirmed = True
        self.confirmations += 1
        self.live = False

    def deafen(self) -> None:
        """The pub/sub connection is gone. Clients stay; the next confirmation reads what was missed."""
        self.confirmed = self.live = False

    def suspect(self) -> None:
        """Something is wrong with what arrived: read again."""
        self.live = False

    def receive(self, publication: Publication) -> bool:
        """Take a live publication. False: it shows that something has to be read first."""
        if self.head is None:
            self._note(publication.position)
            return False
        match step(self.head, publication):
            case Step.NEXT:
                self._advance(publication)
            case Step.STALE:
                pass
            case Step.GAP:
                self._note(publication.position)
                self.live = False
                return False
            case Step.FOREIGN:
                self.foreign = True
                self.live = False
                return False
        return True

    def apply(self, page: Sequence[Publication]) -> bool:
        """Take publications read from the stream beyond the head. False: the chain is broken, history is gone."""
        for publication in page:
            assert self.head is not None
            match step(self.head, publication):
                case Step.NEXT:
                    self._advance(publication)
                case Step.STALE:
                    pass
                case _:
                    return False
        return True

    def begin(self, head: Position, reason: Lost | None) -> None:
        """Stand at `head`; with a reason, everyone attached is told to fetch afresh."""
        self.head = head
        if self._behind is not None and self._behind.epoch != head.epoch:
            self._behind = None
        if reason is not None:
            self._sink.reset(self.channel, reason, head)
        self._wake()

    @property
    def behind(self) -> Position | None:
        """The furthest position heard of that is not reached yet."""
        behind, head = self._behind, self.head
        if behind is not None and head is not None and (behind.epoch != head.epoch or behind <= head):
            self._behind = None
        return self._behind

    def settle(self, confirmations: int) -> bool:
        """A read to the stream's end, begun when there were so many confirmations, is done: live if that is all."""
        if self.confirmed and not self.foreign and confirmations == self.confirmations and self.behind is None:
            self.live = True
            self._wake()
        return self.live

    async def moved(self) -> None:
        """Wait until the head moves, or the feed gets live."""
        future = asyncio.get_running_loop().create_future()
        self._moved.add(future)
        try:
            await future
        finally:
            self._moved.discard(future)

    async def ready(self) -> Position:
        """Wait until the feed is live; return its head of that very moment."""
        while not self.live or self.head is None:
            await self.moved()
        return self.head

    def _note(self, position: Position) -> None:
        if self._behind is None or self._behind.epoch != position.epoch or self._behind < position:
            self._behind = position

    def _advance(self, publication: Publication) -> None:
        assert self.head is not None
        before, self.head = self.head, publication.position
        self._sink.publish(self.channel, publication, before)
        if self._moved:
            self._wake()

    def _wake(self) -> None:
        waiting, self._moved = self._moved, set()
        for future in waiting:
            if not future.done():
                future.set_result(None)
