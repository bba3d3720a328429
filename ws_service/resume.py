"""From a client's position to the live channel, without gap or repeat, and without a buffer.

The channel is live on this node first. Then history is pulled from the stream, as fast as the client takes it, until
the client's position equals the channel's head; in that same turn of the loop it is attached to the hub. So nothing
can fall between, and nobody has to hold back live publications meanwhile.
"""

import asyncio
from dataclasses import dataclass
from time import time
from typing import Final

from shared.backoff import backoff
from shared.codes import Lost
from shared.logs import logger
from shared.position import Position
from shared.publication import Publication
from ws_service.broker import Broker
from ws_service.chain import Step, step
from ws_service.feed import Feed
from ws_service.groups import Member, Shape
from ws_service.history import History, Mark, Page
from ws_service.hub import Hub
from ws_service.redis_link import REDIS_ERRORS

# How long a position that Redis does not have yet is waited for, while the relay may still be putting it back.
_AHEAD_SECONDS: Final = 3.0
_log = logger("resume")


@dataclass(frozen=True, slots=True)
class Past:
    """Where a client wants to begin. At most one is given; none: live only."""

    since: Position | None = None
    events: int | None = None
    seconds: float | None = None

    @property
    def wanted(self) -> bool:
        """Whether the client asked for history."""
        return self.since is not None or self.events is not None or self.seconds is not None


@dataclass(frozen=True, slots=True)
class Start:
    """Where the subscription stands, and the first page of what follows, if it was read already."""

    position: Position
    recovered: bool | None = None
    reason: Lost | None = None
    page: Page | None = None
    # Where the channel itself stands, when `position` is another channel's and lies beyond that.
    beneath: Position | None = None


async def locate(feed: Feed, broker: Broker, history: History, past: Past) -> Start:
    """Find where to start. Waits for the channel to be live, and may return a position behind or at its head.

    Raises REDIS_ERRORS.
    """
    head = await feed.ready()
    if past.since is not None:
        return await _since(feed, broker, history, past.since)
    if past.events is not None or past.seconds is not None:
        return await _rewind(feed, history, past)
    return Start(head)


async def locate_patiently(feed: Feed, broker: Broker, history: History, past: Past) -> Start:
    """The same, tried again until Redis answers. Bound it with a timeout where somebody waits."""
    attempt = 0
    while True:
        try:
            return await locate(feed, broker, history, past)
        except REDIS_ERRORS as error:
            attempt += 1
            _log.warning("cannot read a stream", channel=feed.channel, error=str(error), attempt=attempt)
            await asyncio.sleep(backoff(attempt, most=2.0))


async def _since(feed: Feed, broker: Broker, history: History, since: Position) -> Start:
    head = await feed.ready()
    if since.epoch != head.epoch:
        # A client may have heard of a new epoch before this node has.
        await broker.refresh_epoch()
        head = await feed.ready()
        if since.epoch != head.epoch:
            return Start(head, False, Lost.EPOCH)
    if since == head:
        return Start(head, True)
    deadline = asyncio.get_running_loop().time() + _AHEAD_SECONDS
    known = broker.heartbeat
    mark: Mark | None = None
    while True:
        page = await history.forward(feed.channel, since.epoch).read(since)
        if page.publications:
            if step(since, page.publications[0]) is Step.NEXT:
                return Start(since, True, None, page)
            return Start(await feed.ready(), False, Lost.EXPIRED)
        newest = await history.head(feed.channel, since.epoch)
        if since == newest:
            return Start(since, True)
        head = await feed.ready()
        if head.epoch != since.epoch:
            return Start(head, False, Lost.EPOCH)
        if newest < since:
            if since == head:
                return Start(head, True)
            if mark is None or mark.tick < since.tick:
                mark = await history.mark(since.epoch)
                if mark is not None and mark.tick >= since.tick:
                    continue  # only a look that begins after the tick was whole sees all of it
            elif mark.floor >= since.tick:
                return Start(head, False, Lost.EXPIRED)
            elif head < since:
                # A position of a busier channel: of this one nothing lies between its head and there.
                return Start(since, True, beneath=max(newest, head))
            # Beyond the stream. Either the log never got there, or its tick is under way, or Redis lost its end.
            said = broker.heartbeat
            ahead = (
                said is not None
                and said is not known
                and said.epoch == since.epoch
                # The tick after the completed one may be under way: parts of it are heard already.
                and max(said.tick, mark.tick if mark else 0) + 1 < since.tick
            )
            if ahead or asyncio.get_running_loop().time() > deadline:
                head = await feed.ready()
                if head.epoch != since.epoch:
                    return Start(head, False, Lost.EPOCH)
                return Start(head, False, Lost.AHEAD if since > head else Lost.EXPIRED)
            await asyncio.sleep(0.1)


async def _rewind(feed: Feed, history: History, past: Past) -> Start:
    """Walk back from the end; only the place is kept, what lies after it is read again going forward."""
    head = await feed.ready()
    pager = history.backward(feed.channel, head.epoch)
    oldest: Publication | None = None
    missing = past.events or 0
    earliest = (time() - (past.seconds or 0)) * 1e6
    while True:
        page = await pager.read(oldest.position if oldest else None)
        for publication in page.publications:
            if past.seconds is not None and publication.cut_us < earliest:
                return Start(publication.position, True)
            if past.events is not None:
                if publication.count >= missing:
                    return Start(_before_last(publication, missing), True)
                missing -= publication.count
            oldest = publication
        if page.last or not page.publications:
            break
    if oldest is None:
        return Start(await feed.ready(), True)
    # All that is kept was asked for. It is all there ever was if it begins at the origin.
    complete = oldest.prev.order == (0, 0)
    return Start(oldest.prev, complete, None if complete else Lost.EXPIRED)


def _before_last(publication: Publication, count: int) -> Position:
    """The position after which exactly the last `count` events of the publication follow."""
    first = publication.count - count
    if first == 0:
        return publication.prev
    return Position(publication.position.epoch, publication.position.tick, publication.index[first - 1].id)


async def catch_up(feed: Feed, history: History, hub: Hub, *, shape: Shape, member: Member, start: Start) -> None:
    """Bring `member` from its start to the channel's head and attach it. It is attached when this returns,
    or its connection is closed. Redis away: waits for it.
    """
    position, page = start.beneath or start.position, start.page
    pager = history.forward(feed.channel, position.epoch)
    attempt = 0
    empty_since: float | None = None
    while member.wanted:
        if page is not None:
            for publication in page.publications:
                if position == feed.head:
                    break
                if step(position, publication) is not Step.NEXT:
                    _restart(feed, hub, shape, member, reason=Lost.EXPIRED)
                    return
                messages = tuple(shape.messages(publication, position))
                if messages:
                    size = sum(map(len, messages))
                    if not await member.connection.room(size) or not member.wanted:
                        return
                    member.connection.write(messages)
                    hub.count(len(messages), size)
                position = publication.position
        # From here to the attaching there is no await.
        head = feed.head
        if head is None or head.epoch != position.epoch:
            _restart(feed, hub, shape, member, reason=Lost.EPOCH)
            return
        if position == head:
            hub.attach(feed.channel, shape, member)
            return
        if position > head:
            # The node is a moment behind the stream that we read.
            page = None
            await feed.moved()
            continue
        page = None
        try:
            page = await pager.read(position)
            attempt = 0
            if page.publications:
                empty_since = None
            elif member.wanted:
                # The head lay beyond before we read, and the stream has nothing: Redis lost its end. The relay may
                # be putting it back.
                now = asyncio.get_running_loop().time()
                empty_since = empty_since or now
                if now - empty_since > _AHEAD_SECONDS:
                    _restart(feed, hub, shape, member, reason=Lost.EXPIRED)
                    return
                await asyncio.sleep(0.1)
        except REDIS_ERRORS as error:
            attempt += 1
            _log.warning("cannot read a stream", channel=feed.channel, error=str(error), attempt=attempt)
            await asyncio.sleep(backoff(attempt, most=2.0))


def _restart(feed: Feed, hub: Hub, shape: Shape, member: Member, *, reason: Lost) -> None:
    """What the client still needed is gone: tell it, and attach it at the head."""
    head = feed.head
    assert head is not None
    member.reset(reason, head)
    hub.attach(feed.channel, shape, member)
