"""What each kind of client writes into its log: what it asked, heard and was told, and where it stands afterwards."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from notifiws.verify.client import Client, Node, Said, _decode
from notifiws.verify.event_source import EventSource, _events
from notifiws.verify.history import Frame, Record, Reset, Subscribed, Waited, Who
from notifiws.verify.readers import PlainClient
from notifiws.verify.spool import Spool

WHO = Who("one", "v1", False)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path)
    yield spool
    spool.close()


def where() -> Node:
    return Node("node 1", "http://127.0.0.1:1")


def records(spool: Spool) -> list[Record]:
    spool.close()
    return list(spool.records(WHO))


def event(number: int, tick: int = 1) -> dict[str, Any]:
    row = {"id": 7, "version": 2, "stamp": number + 100, "note": "ñ€😀"}
    return {
        "id": number, "op": "update", "table": "t", "key": {"id": 7}, "new": row, "old": {"id": 7}, "tx": "800",
        "at": "x", "position": f"e:{tick}-{number}",
    }  # fmt: skip


def test_a_client_notes_frames_and_moves_on(spool: Spool) -> None:
    client = Client(spool.client(WHO), where, ["c"], Random(1))

    def take(**frame: Any) -> bool:
        return client._take(_decode(msgspec.json.encode(frame)))

    assert take(type="welcome", session="s")
    assert take(type="subscribed", channel="c", position="e:1-1", head="e:1-1", live=True, id=1, sub="c")
    assert take(type="events", channel="c", prev="e:1-1", position="e:2-5", events=[event(4), event(5)])
    assert take(type="reset", channel="c", sub="c", position="e:3-9", reason="expired")
    assert not take(type="error", code="unavailable", message="Redis is away")
    assert client.places["c"] == ("e", 3, 9)
    subscribed, frame, reset, _ = records(spool)
    assert isinstance(subscribed, Subscribed)
    assert isinstance(frame, Frame)
    assert (frame.prev, frame.place, frame.ids) == (("e", 1, 1), ("e", 2, 5), [4, 5])
    assert isinstance(reset, Reset)
    [first, _] = spool.events()
    assert (first.op, first.tx, first.stamp, first.row, first.version, first.size) == ("update", 800, 104, 7, 2, 3)


def test_a_deleted_row_is_known_by_what_it_was() -> None:
    said = msgspec.convert({**event(4), "op": "delete", "new": None, "old": event(4)["new"]}, Said)
    assert said.event("c", ("e", 1, 4)).stamp == 104


async def test_what_was_waited_for_came_or_not(spool: Spool) -> None:
    client = Client(spool.client(WHO), where, ["c"], Random(1))
    client.heard("c", None, ("e", 1, 4), [msgspec.convert(event(4), Said)])
    assert await client.wait("c", 104, 1.0)
    assert not await client.wait("c", 105, 0.01)
    assert [record.came for record in records(spool) if isinstance(record, Waited)] == [True, False]


def test_a_step_back_is_to_an_event_that_was_heard(spool: Spool) -> None:
    client = Client(spool.client(WHO), where, ["c"], Random(1))
    frame = {"type": "events", "channel": "c", "prev": "e:1-1", "position": "e:2-5", "events": [event(4), event(5)]}
    client._take(_decode(msgspec.json.encode(frame)))
    client.step_back()
    assert client.places["c"] in {("e", 2, 4), ("e", 2, 5)}


def test_a_plain_client_begins_right_before_its_first_event_and_anew_when_history_is_gone(spool: Spool) -> None:
    plain = PlainClient(spool.client(WHO), where, ["c"])
    plain.take([msgspec.convert(event(4), Said), msgspec.convert(event(5), Said)])
    plain.take([msgspec.convert(event(6, tick=2), Said)])
    plain.lost_history()
    plain.take([msgspec.convert(event(9, tick=3), Said)])
    began, one, two, reset, three = records(spool)
    assert isinstance(began, Subscribed)
    assert began.place == ("e", 1, 3)
    assert [each.ids for each in (one, two, three) if isinstance(each, Frame)] == [[4, 5], [6], [9]]
    assert isinstance(reset, Reset)
    assert reset.place == ("e", 3, 8)


async def test_events_of_a_stream_are_read_whole_or_not_at_all() -> None:
    whole = ": hello\n\nretry: 5\nevent: message\nid: e:1-4\ndata: {}\n\nevent: position\nid: e:2-0\ndata\n\n"
    text = whole + "event: message\ndata: {"

    async def lines() -> AsyncIterator[str]:
        for line in text.split("\n"):
            yield line

    assert [each async for each in _events(lines())] == [("message", "{}")]


def test_an_event_source_that_is_told_to_fetch_afresh_says_so(spool: Spool) -> None:
    source = EventSource(spool.client(WHO), where, ["c"])
    source._take_event(
        "subscribed", '{"channel":"c","position":"e:5-9","head":"e:5-9","recovered":false,"reason":"epoch"}'
    )
    source._take_event("reset", '{"channel":"c","position":"e:5-9","reason":"epoch"}')
    subscribed, reset = records(spool)
    assert isinstance(subscribed, Subscribed)
    assert subscribed.recovered is False
    assert isinstance(reset, Reset)
    assert source.places["c"] == ("e", 5, 9)
