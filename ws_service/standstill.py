"""Where channels stand in which nothing happened, said every `ping_seconds`: so a client's position never gets old.

Retention takes a quiet channel's last position as it takes all of its time. A newer one of the log is as good where it
is certain that nothing lies between: the relay's mark says which tick is whole, and a probe that was sent after the
mark was read, and came back, says that all publications up to there have passed through our subscription.
"""

import asyncio
import contextlib
from typing import Final

from shared.position import MAX_INT, Position
from ws_service.broker import Broker
from ws_service.feed import Feed
from ws_service.frames import PING_SECONDS
from ws_service.history import Mark
from ws_service.hub import Hub
from ws_service.pubsub import PubSub
from ws_service.redis_link import REDIS_ERRORS
from ws_service.retained import Retained

_CHANNELS_A_SLICE: Final = 100
_PROBE_SECONDS: Final = 5.0


class Standstill:
    """Run it as a task."""

    def __init__(self, broker: Broker, hub: Hub, retained: Retained, pubsub: PubSub) -> None:
        self._broker = broker
        self._hub = hub
        self._retained = retained
        self._pubsub = pubsub

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(PING_SECONDS)
            await self.say()

    async def say(self) -> None:
        """One round."""
        before = {feed: feed.confirmations for feed in self._broker.feeds() if feed.live}
        epoch = self._broker.epoch
        mark = await self._mark(epoch) if epoch is not None and before else None
        for number, feed in enumerate(self._broker.feeds(), 1):
            head = feed.head
            if head is not None:
                position = head
                if mark is not None and head.epoch == epoch and feed.live and before.get(feed) == feed.confirmations:
                    position = _certain(feed, head, mark)
                self._hub.standstill(feed.channel, head, position)
            if number % _CHANNELS_A_SLICE == 0:
                await asyncio.sleep(0)

    async def _mark(self, epoch: str) -> Mark | None:
        """What is whole and has passed through our subscription. Only where there is a log can a position get old."""
        if not self._retained.log.kept:
            return None
        with contextlib.suppress(*REDIS_ERRORS):
            mark = await self._retained.mark(epoch)
            async with asyncio.timeout(_PROBE_SECONDS):
                await self._pubsub.passed()
            return mark
        return None


def _certain(feed: Feed, head: Position, mark: Mark) -> Position:
    """The newest position up to which nothing lies beyond the channel's head."""
    if head <= Position(head.epoch, mark.floor, MAX_INT) and mark.floor:
        return (
            head  # Redis has lost something up to there, and this channel's head may have been read from what is left
        )
    feed.quiet = (head, mark.tick)
    return max(head, Position(head.epoch, mark.tick, 0))
