"""Rows of a tick → publications: limits, chains, and what is dropped after a refusal."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener_service.cut import Batch
from listener_service.heads import Found, Heads
from listener_service.ports import Append, Outcome, Overtaken, Tick
from shared.event import encode_event
from shared.position import Position
from shared.publication import MAX_EVENTS, MAX_FRAME_BYTES, Publication, split
from tests.contract.listener_fakes import AT, row

TICK = Tick(7, AT)


def test_parts_hold_at_most_500_events() -> None:
    events = [encode_event(row(number)) for number in range(1, 1203)]
    assert [len(part) for part in split(events)] == [500, 500, 202]


def test_a_part_s_frame_stays_below_256_kb_and_a_larger_event_goes_alone() -> None:
    sizes = [100_000, 100_000, 100_000, 5_000_000, 10, 10]
    rows = [row(number, payload='"' + "x" * size + '"') for number, size in enumerate(sizes, 1)]
    appends = Batch(TICK, rows, Heads("e1")).appends()
    assert [Publication(append.data).count for append in appends] == [2, 1, 1, 2]
    for append in appends:
        publication = Publication(append.data)
        assert publication.count == 1 or len(publication.frame) <= MAX_FRAME_BYTES


def test_no_events_no_parts() -> None:
    assert split([]) == []


def test_an_unknown_op_is_no_silent_loss() -> None:
    with pytest.raises(KeyError):
        Batch(TICK, [row(1, op="merge")], Heads("e1"))


def test_touches_are_told_and_never_published() -> None:
    rows = [row(1), row(2, "", op="touch", key="7"), row(3, "sums", op="result"), row(4, "", op="touch", key="9")]
    batch = Batch(TICK, rows, Heads("e1"))
    assert (batch.touched, batch.events, batch.written) == ({7, 9}, 2, {"sales"})
    assert [(append.channel, str(append.position)) for append in batch.appends()] == [
        ("sales", "e1:7-1"),
        ("sums", "e1:7-3"),
    ]
    nothing = Batch(TICK, rows[1:2], Heads("e1"))
    assert (nothing.appends(), nothing.channels, nothing.events) == ([], set(), 0)


def test_channels_are_chained_apart() -> None:
    rows = [row(1), row(2, "stock"), row(3), row(4, "stock")]
    appends = Batch(TICK, rows, Heads("e1")).appends()
    assert [(append.channel, str(append.position)) for append in appends] == [("sales", "e1:7-3"), ("stock", "e1:7-4")]
    assert {str(Publication(append.data).prev) for append in appends} == {"e1:0-0"}


def answer(batch: Batch, streams: dict[str, list[Append]]) -> dict[str, Found]:
    """One round with a Redis that holds `streams`."""
    appends = batch.appends()
    outcomes = []
    for append in appends:
        stream = streams[append.channel]
        head = stream[-1].position if stream else Position.origin("e1")
        if head == append.expected:
            stream.append(append)
        outcomes.append(Outcome(head == append.expected, append.position if head == append.expected else head))
    return batch.settle(appends, outcomes)


def drain(batch: Batch, streams: dict[str, list[Append]]) -> list[dict[str, Found]]:
    """All rounds."""
    rounds = []
    while batch.appends():
        rounds.append(answer(batch, streams))
    return rounds


def former(channel: str, tick: int, event: int) -> Append:
    return Append(channel, Position.origin("e1"), Position("e1", tick, event), b"")


def test_the_first_append_of_a_leadership_learns_the_head() -> None:
    streams = defaultdict(list, sales=[former("sales", 3, 9)])
    assert drain(Batch(TICK, [row(20)], Heads("e1")), streams) == [{"sales": Found.LEARNED}, {}]
    assert Publication(streams["sales"][-1].data).prev == Position("e1", 3, 9)


def test_what_of_the_tick_is_there_already_is_dropped_by_event() -> None:
    streams = defaultdict(list, sales=[former("sales", 7, 2)])
    rows = [row(1), row(2), row(3), row(4)]
    assert drain(Batch(TICK, rows, Heads("e1")), streams) == [{"sales": Found.REPLAYED}, {}]
    publication = Publication(streams["sales"][-1].data)
    assert [event.id for event in publication.events()] == [3, 4]
    assert publication.prev == Position("e1", 7, 2)


def test_a_later_tick_in_the_stream_means_overtaken() -> None:
    streams = defaultdict(list, sales=[former("sales", 8, 1)])
    with pytest.raises(Overtaken):
        drain(Batch(TICK, [row(1)], Heads("e1")), streams)


def test_a_stream_that_lost_its_end_is_written_to_with_the_true_prev() -> None:
    heads, streams = Heads("e1"), defaultdict[str, list[Append]](list)
    drain(Batch(Tick(6, AT), [row(1)], heads), streams)
    streams.clear()
    assert drain(Batch(TICK, [row(2)], heads), streams) == [{"sales": Found.BEHIND}, {}]
    assert Publication(streams["sales"][-1].data).prev == Position("e1", 6, 1)


def test_after_a_loss_an_unknown_head_is_not_taken_from_redis() -> None:
    heads, streams = Heads("e1"), defaultdict[str, list[Append]](list, stock=[former("stock", 2, 1)])
    heads.distrust(6)
    drain(Batch(TICK, [row(1), row(2, "stock")], heads), streams)
    for channel in ("sales", "stock"):
        prev = Publication(streams[channel][-1].data).prev
        assert Position("e1", 6, 10**12) < prev < Position("e1", 7, 0)


def test_a_forgotten_head_is_learned_again() -> None:
    heads, streams = Heads("e1", capacity=2), defaultdict[str, list[Append]](list)
    for tick, channel in enumerate(["a", "b", "c", "a"], 1):
        drain(Batch(Tick(tick, AT), [row(tick, channel)], heads), streams)
    assert [str(Publication(append.data).prev) for append in streams["a"]] == ["e1:0-0", "e1:1-1"]


@given(
    channels=st.lists(st.sampled_from("abc"), min_size=1, max_size=1500),
    there=st.dictionaries(st.sampled_from("abc"), st.integers(0, 1500)),
)
def test_each_event_once_in_order_linked_whatever_was_there(channels: list[str], there: dict[str, int]) -> None:
    rows = [row(number, channel) for number, channel in enumerate(channels, 1)]
    streams = defaultdict[str, list[Append]](list)
    done = {}
    for channel, count in there.items():
        ids = [each.id for each in rows if each.channel == channel][:count]
        if ids:
            done[channel] = ids[-1]
            streams[channel].append(former(channel, 7, ids[-1]))
    drain(Batch(TICK, rows, Heads("e1")), streams)
    for channel in set(channels):
        publications = [Publication(append.data) for append in streams[channel] if append.data]
        ids = [event.id for publication in publications for event in publication.events()]
        assert ids == [each.id for each in rows if each.channel == channel and each.id > done.get(channel, 0)]
        at = Position("e1", 7, done[channel]) if channel in done else Position.origin("e1")
        for publication in publications:
            assert publication.prev == at
            assert publication.count <= MAX_EVENTS
            at = publication.position
