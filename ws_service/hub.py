"""This node's registry: channel → groups → members. It builds each message once and writes it to everyone. No I/O.

What arrives for a channel in one turn of the loop is joined and written with one write per connection. Nothing here
waits, and there is no task per publication or connection; who is too slow is the connection's business.
"""

import asyncio
from collections.abc import Callable
from time import perf_counter, time

from shared.codes import CloseCode, Lost
from shared.logs import logger
from shared.position import Position
from shared.publication import Publication
from ws_service.groups import Group, Member, Shape
from ws_service.metrics import NodeMetrics


class Hub:
    """All attached subscriptions of this node. A member is attached when it stands exactly at its channel's head."""

    def __init__(self, metrics: NodeMetrics, call_soon: Callable[[Callable[[], None]], object] | None = None) -> None:
        self._metrics = metrics
        self._call_soon = call_soon
        self._log = logger("hub")
        self._channels: dict[str, dict[Shape, Group]] = {}
        self._dirty: dict[Group, None] = {}
        self._dirty_since = 0.0
        self._moved: set[str] = set()

    def attach(self, channel: str, shape: Shape, member: Member) -> None:
        """Deliver to `member` all that comes from now on. It must stand at the channel's head in this very turn."""
        groups = self._channels.setdefault(channel, {})
        group = groups.get(shape)
        if group is None:
            group = groups[shape] = Group(shape)
        # What is pending was published before: the new member has it already.
        self._flush_group(group)
        group.members[member] = None

    def detach(self, channel: str, shape: Shape, member: Member) -> None:
        """Nothing more for this member."""
        groups = self._channels.get(channel, {})
        group = groups.get(shape)
        if group is None or member not in group.members:
            return
        del group.members[member]
        if not group.members:
            self._dirty.pop(group, None)
            del groups[shape]
            if not groups:
                del self._channels[channel]
                self._moved.discard(channel)

    def publish(self, channel: str, publication: Publication, after: Position) -> None:
        """Deliver what of `publication` lies beyond `after` to every member of the channel."""
        if publication.count:
            self._metrics.cut_to_node.observe(max(0.0, time() - publication.cut_us / 1e6))
        groups = self._channels.get(channel)
        if groups is None:
            return
        self._moved.add(channel)
        for group in groups.values():
            try:
                if group.add(publication, after):
                    self._mark(group)
            except Exception:
                # Never a silent gap: these clients come back and resume.
                self._log.exception("cannot build messages", channel=channel, position=str(publication.position))
                for member in group.members:
                    member.connection.close(CloseCode.INTERNAL, "internal error; reconnect and resume")

    def reset(self, channel: str, reason: Lost, position: Position) -> None:
        """Tell every member of the channel that history is broken."""
        for group in self._channels.get(channel, {}).values():
            self._flush_group(group)
            for member in tuple(group.members):
                member.reset(reason, position)
                self._metrics.resets.labels(reason).inc()

    def standstill(self, channel: str, head: Position, position: Position) -> None:
        """A round of `ping_seconds` is over: if nothing was published in it, say where the channel stands.

        `position` is `head` or one of the log beyond it.
        """
        if channel in self._moved:
            self._moved.discard(channel)
            return
        for group in self._channels.get(channel, {}).values():
            message = group.shape.standstill(channel, head, position)
            if message is not None:
                group.say(message)
                self._mark(group)

    def flush(self) -> None:
        """Write out what this turn of the loop has brought."""
        dirty, self._dirty = self._dirty, {}
        for group in dirty:
            self._write(group)
        if dirty:
            self._metrics.node_to_socket.observe(perf_counter() - self._dirty_since)

    def _mark(self, group: Group) -> None:
        if not self._dirty:
            self._dirty_since = perf_counter()
            (self._call_soon or asyncio.get_running_loop().call_soon)(self.flush)
        self._dirty[group] = None

    def _flush_group(self, group: Group) -> None:
        if group in self._dirty:
            del self._dirty[group]
            self._write(group)

    def count(self, messages: int, size: int) -> None:
        """So many messages of so many bytes were written to clients."""
        self._metrics.messages.inc(messages)
        self._metrics.bytes.inc(size)

    def _write(self, group: Group) -> None:
        messages, size = group.flush()
        self.count(messages * len(group.members), size * len(group.members))
