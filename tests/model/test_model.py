"""The order in which the path's parts may act, explored without a gap: killed and deposed relays, a Redis that loses
writes, a node that misses messages, a client that resumes. Beside it, the same walk over the path with one thing wrong.

`EXPLORE=all` in the environment walks through the large worlds too (minutes).
"""

import os
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from listener_service.heads import Found, Heads
from listener_service.ports import Overtaken
from shared.event import LogRow
from shared.position import Position
from tests.model.explorer import Violated, explore
from tests.model.world import Database, Redis, Relay, Transaction, World
from ws_service.chain import Step
from ws_service.feed import Feed

FAULTS = ("crash", "depose", "drop", "cut", "leave", "lose")
# One fault each, and those pairs where one may hide the other.
SHORT = [
    *((fault,) for fault in FAULTS),
    ("crash", "depose"),
    ("crash", "lose"),
    ("crash", "leave"),
    ("cut", "leave"),
    ("lose", "leave"),
    ("drop", "lose"),
    ("cut", "lose"),
]
LONG = [("depose", "lose"), ("depose", "leave"), ("depose", "cut"), ("drop", "leave"), ("crash", "cut")]
ALL = os.environ.get("EXPLORE") == "all"


_take = Relay._take


def two() -> list[Transaction]:
    """The second waits for the first one's row."""
    return [Transaction(1), Transaction(1, after=(0,))]


def open_long() -> list[Transaction]:
    """One of two events, one that waits for it, one that may begin early and commit late."""
    return [Transaction(2), Transaction(1, after=(0,)), Transaction(1)]


def rolled_back() -> list[Transaction]:
    """One that takes back what it wrote, and one that waited for it."""
    return [Transaction(1, commits=False), Transaction(1, after=(0,)), Transaction(1)]


@pytest.mark.parametrize("faults", SHORT + (LONG if ALL else []), ids="+".join)
def test_two_dependent_events_arrive_once_and_in_order(faults: tuple[str, ...]) -> None:
    assert explore(World(two(), dict.fromkeys(faults, 1))).ends > 0


@pytest.mark.parametrize("transactions", [open_long, rolled_back])
@pytest.mark.parametrize("faults", [(), *(((fault,) for fault in FAULTS) if ALL else [("drop",)])], ids="+".join)
def test_whoever_commits_late_or_not_at_all_delays_nobody(
    transactions: Callable[[], list[Transaction]], faults: tuple[str, ...]
) -> None:
    assert explore(World(transactions(), dict.fromkeys(faults, 1))).ends > 0


def _cut_beyond_the_last_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """`id > last` in place of snapshots."""
    rows = Database.rows

    def beyond(self: Database, tick: int) -> list[LogRow]:
        last = max((row.id for former in range(1, tick) for row in rows(self, former)), default=0)
        return [row for row in rows(self, tick) if row.id > last]

    def take(self: Relay, database: Database) -> None:
        with mock.patch.object(Database, "rows", beyond):
            _take(self, database)

    monkeypatch.setattr(Relay, "_take", take)


def _ignore_prev(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that takes every newer publication for the next one."""

    def step(position: Position, publication: Any) -> Step:
        return Step.STALE if publication.position <= position else Step.NEXT

    monkeypatch.setattr("ws_service.feed.step", step)


def _take_a_confirmation_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A subscription that is confirmed again is live at once: what was published meanwhile is not read."""

    def confirm(self: Feed) -> None:
        self.confirmed = self.live = True

    monkeypatch.setattr(Feed, "confirm", confirm)


def _resume_one_too_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resume that leaves out the publication after the client's position."""
    beyond = Redis.beyond
    monkeypatch.setattr("tests.model.world.Node.resume", lambda self, redis: _set(self, beyond(redis, _at(self))[1:]))


def _at(node: Any) -> Position:
    return node.client.position  # type: ignore[no-any-return]


def _set(node: Any, page: Any) -> None:
    node.client.resuming = page


def _trust_what_a_lost_redis_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a restart of Redis only the mark is compared, and the tick in hand goes on from where it was."""
    monkeypatch.setattr(Relay, "renew", lambda self, database, redis: self.check(redis))


def _believe_any_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay that takes a refusal for news and tries again, however late it is itself."""
    refused = Heads.refused

    def believe(self: Heads, channel: str, tick: int, actual: Position) -> Found:
        try:
            return refused(self, channel, tick, actual)
        except Overtaken:
            self.written(channel, Position(self.epoch, tick - 1, 0))
            self._heads[channel].redis = actual
            return Found.LEARNED

    monkeypatch.setattr(Heads, "refused", believe)


@pytest.mark.parametrize(
    ("mutate", "transactions", "faults"),
    [
        (_cut_beyond_the_last_id, open_long, ()),
        (_ignore_prev, two, ("drop",)),
        (_take_a_confirmation_for_nothing, two, ("cut",)),
        (_resume_one_too_far, two, ("leave",)),
        (_trust_what_a_lost_redis_said, two, ("lose",)),
        (_believe_any_head, two, ("depose",)),
    ],
)
def test_the_walk_finds_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
    mutate: Callable[[pytest.MonkeyPatch], None],
    transactions: Callable[[], list[Transaction]],
    faults: tuple[str, ...],
) -> None:
    mutate(monkeypatch)
    with pytest.raises(Violated):
        explore(World(transactions(), dict.fromkeys(faults, 1)))
