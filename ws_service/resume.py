"""From a client's position to the live channel, without gap or repeat, and without a buffer.

The channel is live on this node first. Then history is pulled, from the log where the stream does not reach, as fast
as the client takes it, until the client's position equals the channel's head; in that same turn of the loop it is
attached to the hub. So nothing can fall between, and nobody has to hold back live publications meanwhile.
"""

import asyncio
from collections.abc import Sequence
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
from ws_service.history import Mark, Page
from ws_service.hub import Hub
from ws_service.ports import LogAway
from ws_service.retained import AWAY, Gone, Retained

# How long a position that Redis does not have yet is waited for, while the relay may still be putting it back.
_AHEAD_SECONDS: Final = 3.0
# How long a client that is catching up waits for a log that went away; then it is told to fetch afresh.
_LOG_SECONDS: Final = 15.0
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


async def locate(feed: Feed, broker: Broker, retained: Retained, past: Past) -> Start:
    """Find where to start. Waits for the channel to be live, and may return a position behind or at its head.

    Raises AWAY.
    """
    if past.wanted:
        await retained.pace.turn()
    if past.since is not None:
        await feed.ready()
        return await _since(feed, broker, retained, past.since)
    if past.events is not None or past.seconds is not None:
        return await _rewind(feed, retained, past)
    if await broker.carries_result(feed.channel):
        # The latest result, at once: as if one event had been asked for.
        return Start((await _rewind(feed, retained, Past(events=1))).position)
    return Start(await feed.ready())


async def locate_patiently(feed: Feed, broker: Broker, retained: Retained, past: Past) -> Start:
    """The same, tried again until Redis, or the log, answers. Bound it with a timeout where somebody waits."""
    attempt = 0
    while True:
        try:
            return await locate(feed, broker, retained, past)
        except AWAY as error:
            attempt += 1
            _log.warning("cannot read history", channel=feed.channel, error=str(error), attempt=attempt)
            await asyncio.sleep(backoff(attempt, most=2.0))


async def _since(feed: Feed, broker: Broker, retained: Retained, since: Position) -> Start:
    head = await feed.ready()
    if since.epoch != head.epoch:
        # A client may have heard of a new epoch before this node has.
        await broker.refresh_epoch()
        head = await feed.ready()
        if since.epoch != head.epoch:
            return Start(head, False, Lost.EPOCH)
    if since == head:
        return Start(head, True)
    if head < since and feed.quiet is not None:
        quiet, tick = feed.quiet
        if quiet.epoch == since.epoch and quiet <= since and since.tick <= tick:
            return Start(since, True, beneath=head)
    deadline = asyncio.get_running_loop().time() + _AHEAD_SECONDS
    known = broker.heartbeat
    mark: Mark | None = None
    pull = retained.forward(feed.channel, since.epoch)
    while True:
        # Before the read, so that what it does not bring is no news.
        heard = feed.head if feed.head is not None and feed.head.epoch == since.epoch else None
        try:
            page = await pull.read(since, heard)
        except Gone:
            return Start(await feed.ready(), False, Lost.EXPIRED)
        if page.publications:
            return Start(since, True, None, page)
        newest = await retained.head(feed.channel, since.epoch)
        if since == newest:
            return Start(since, True)
        head = await feed.ready()
        if head.epoch != since.epoch:
            return Start(head, False, Lost.EPOCH)
        if newest < since:
            if since == head:
                return Start(head, True)
            if mark is None or mark.tick < since.tick:
                mark = await retained.mark(since.epoch)
                if mark is not None and mark.tick >= since.tick:
                    continue  # only a look that begins after the tick was whole sees all of it
            elif mark.floor >= since.tick and (publications := await _forgotten(feed, retained, since, mark)) != ():
                if publications is None:
                    return Start(head, False, Lost.EXPIRED)
                return Start(since, True, None, Page(publications, last=False))
            elif head < since:
                # A position of a busier channel: of this one nothing lies between its head and there.
                if mark.floor < newest.tick or not mark.floor:
                    feed.quiet = (newest, mark.tick)
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
            if (
                said is not None
                and said is not known
                and said.epoch == since.epoch
                and said.tick + 1 == since.tick
                and said.lag_seconds > 0
            ):
                # Its tick is being published, a very large one perhaps: each heartbeat that says so is waited upon.
                known, deadline = said, asyncio.get_running_loop().time() + _AHEAD_SECONDS
            if ahead or asyncio.get_running_loop().time() > deadline:
                head = await feed.ready()
                if head.epoch != since.epoch:
                    return Start(head, False, Lost.EPOCH)
                return Start(head, False, Lost.AHEAD if since > head else Lost.EXPIRED)
            await asyncio.sleep(0.1)


async def _forgotten(feed: Feed, retained: Retained, since: Position, mark: Mark) -> Sequence[Publication] | None:
    """What the log has between a position and what was completed, where Redis forgot; None: nobody knows."""
    until = Position(since.epoch, mark.tick + 1, 0)
    publications = await retained.log.page(feed.channel, since, until)
    if publications and publications[-1].position == until and not any(each.count for each in publications):
        return ()
    return publications


async def _rewind(feed: Feed, retained: Retained, past: Past) -> Start:
    """Walk back from the end; only the place is kept, what lies after it is read again going forward."""
    head = await feed.ready()
    pager = retained.backward(feed.channel, head.epoch)
    oldest: Publication | None = None
    missing = past.events or 0
    earliest = (time() - (past.seconds or 0)) * 1e6
    while True:
        page = await pager.read(oldest.position if oldest else None)
        for publication in page.publications:
            if oldest is not None and publication.position < oldest.prev:
                page = Page((), last=True)  # a hole: what lies before it is the log's, if anybody's
                break
            if past.seconds is not None and publication.cut_us < earliest:
                return Start(publication.position, True)
            if past.events is not None:
                if publication.count >= missing:
                    return Start(_before_last(publication, missing), True)
                missing -= publication.count
            oldest = publication
        if page.last or not page.publications:
            break
    before = await feed.ready() if oldest is None else oldest.prev
    if before.epoch != head.epoch or before.order == (0, 0):
        # It is all there ever was.
        return Start(before, True)
    log = retained.log
    if past.seconds is not None:
        found = await log.at_time(before.epoch, earliest)
    else:
        found = await log.back(feed.channel, before, missing)
    if found is not None and found.position < before:
        return Start(found.position, found.complete, None if found.complete else Lost.EXPIRED)
    if oldest is None or (found is not None and found.complete):
        return Start(before, True)
    return Start(before, False, Lost.EXPIRED)


def _before_last(publication: Publication, count: int) -> Position:
    """The position after which exactly the last `count` events of the publication follow."""
    first = publication.count - count
    if first == 0:
        return publication.prev
    return Position(publication.position.epoch, publication.position.tick, publication.index[first - 1].id)


async def catch_up(feed: Feed, retained: Retained, hub: Hub, *, shape: Shape, member: Member, start: Start) -> None:
    """Bring `member` from its start to the channel's head and attach it. It is attached when this returns,
    or its connection is closed. Redis away: waits for it.
    """
    position, page = start.beneath or start.position, start.page
    pull = retained.forward(feed.channel, position.epoch)
    attempt = 0
    empty_since: float | None = None
    away_since: float | None = None
    now = asyncio.get_running_loop().time
    while member.wanted:
        if page is not None:
            await retained.pace.turn()
            for publication in page.publications:
                if position == feed.head or step(position, publication) is Step.GAP:
                    break  # the next read, if there is one, shows whether the gap can be filled
                if publication.position <= position:
                    continue
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
            page = await pull.read(position, head)
            attempt, away_since = 0, None
            if page.publications:
                empty_since = None
            elif member.wanted:
                # The head lay beyond before we read, and the stream has nothing: Redis lost its end. The relay may
                # be putting it back.
                empty_since = empty_since or now()
                if now() - empty_since > _AHEAD_SECONDS:
                    _restart(feed, hub, shape, member, reason=Lost.EXPIRED)
                    return
                await asyncio.sleep(0.1)
        except Gone:
            _restart(feed, hub, shape, member, reason=Lost.EXPIRED)
            return
        except AWAY as error:
            attempt += 1
            _log.warning("cannot read history", channel=feed.channel, error=str(error), attempt=attempt)
            if isinstance(error, LogAway):
                away_since = away_since or now()
                if now() - away_since > _LOG_SECONDS:
                    _restart(feed, hub, shape, member, reason=Lost.EXPIRED)
                    return
            await asyncio.sleep(backoff(attempt, most=2.0))


def _restart(feed: Feed, hub: Hub, shape: Shape, member: Member, *, reason: Lost) -> None:
    """What the client still needed is gone: tell it, and attach it at the head."""
    head = feed.head
    assert head is not None
    member.reset(reason, head)
    hub.attach(feed.channel, shape, member)
