"""Publications: written, read, cut at a position, and single events sliced out without parsing."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.event import EncodedEvent, LogRow, encode_event
from shared.position import MAX_INT, Position
from shared.publication import BadPublication, Publication, encode, frame

AT = datetime(2026, 11, 24, 10, 0, 0, 123456, tzinfo=UTC)
PREV = Position("e1", 6, 2)


def event(number: int, payload: str = "1", *, is_json: bool = True) -> EncodedEvent:
    return encode_event(LogRow(number, "7", "sales", "emit", None, None, None, None, payload, is_json, AT))


def delete(number: int) -> EncodedEvent:
    return encode_event(LogRow(number, "7", "sales", "delete", "t", '{"a":1}', None, '{"a":1}', None, True, AT))


def publication(*events: EncodedEvent, prev: Position = PREV, tick: int = 7) -> Publication:
    return Publication(encode("sales", prev, Position("e1", tick, events[-1].id), 1_764_000_000_123_456, events))


payloads = st.lists(st.tuples(st.booleans(), st.text(max_size=40)), min_size=1, max_size=12)


@given(payloads)
def test_what_is_written_is_read(texts: list[tuple[bool, str]]) -> None:
    events = [
        event(number, json.dumps(text) if is_json else text, is_json=is_json)
        for number, (is_json, text) in enumerate(texts, 10)
    ]
    found = publication(*events)
    assert (found.channel, found.prev, found.position) == ("sales", PREV, Position("e1", 7, events[-1].id))
    assert (found.count, found.cut_us) == (len(events), 1_764_000_000_123_456)
    decoded = json.loads(found.frame)
    assert decoded["type"] == "events"
    assert (decoded["prev"], decoded["position"]) == ("e1:6-2", str(found.position))
    sliced = list(found.events())
    assert [json.loads(bytes(each.data)) for each in sliced] == decoded["events"]
    for each, (is_json, text) in zip(sliced, texts, strict=True):
        plain = each.plain("sales").decode("utf-8", "surrogatepass")
        assert plain == (json.dumps(text) if is_json else text)


def test_an_event_alone_carries_channel_and_position() -> None:
    first, second = publication(event(3), delete(9)).events()
    assert json.loads(first.standalone("sales")) | {"tx": 0} == {
        "id": 3, "op": "emit", "payload": 1, "tx": 0, "at": "2026-11-24T10:00:00.123456Z", "channel": "sales",
        "position": "e1:7-3",
    }  # fmt: skip
    assert second.payload is None
    assert json.loads(second.plain("sales"))["position"] == "e1:7-9"


@pytest.mark.parametrize(
    ("after", "ids"),
    [
        (Position("e1", 0, 0), [3, 5, 9]),
        (PREV, [3, 5, 9]),
        (Position("e1", 6, 99), [3, 5, 9]),
        (Position("e1", 7, 0), [3, 5, 9]),
        (Position("e1", 7, 3), [5, 9]),
        (Position("e1", 7, 4), [5, 9]),
        (Position("e1", 7, 8), [9]),
        (Position("e1", 7, 9), []),
        (Position("e1", 7, 10), []),
        (Position("e1", 8, 1), []),
    ],
)
def test_cut_at_a_position(after: Position, ids: list[int]) -> None:
    found = publication(event(3), event(5), event(9))
    assert [each.id for each in found.events(after)] == ids
    decoded = json.loads(found.frame_after(after))
    assert [each["id"] for each in decoded["events"]] == ids
    assert decoded["position"] == "e1:7-9"
    assert decoded["prev"] == ("e1:6-2" if len(ids) == 3 else str(after))


def test_a_position_of_another_epoch_is_no_place_in_it() -> None:
    with pytest.raises(ValueError, match="two epochs"):
        publication(event(3)).frame_after(Position("e2", 7, 3))


def test_the_largest_numbers_fit() -> None:
    top = Position("e1", MAX_INT, MAX_INT - 1)
    found = Publication(encode("c" * 128, top, Position("e1", MAX_INT, MAX_INT), 0, [event(MAX_INT)]))
    assert (found.channel, found.prev, found.position.event) == ("c" * 128, top, MAX_INT)
    assert next(found.events()).id == MAX_INT


@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BadPublication):
        Publication(data)


def test_bytes_that_are_cut_short_are_refused() -> None:
    data = publication(event(3)).data
    for length in range(len(data) - len(publication(event(3)).frame) + 1):
        with pytest.raises(BadPublication):
            Publication(data[:length])


@pytest.mark.parametrize("text", [b"e1sales", b"sales"])
def test_names_that_are_not_ascii_are_refused(text: bytes) -> None:
    data = publication(event(3)).data
    assert text in data
    with pytest.raises(BadPublication, match="ASCII"):
        Publication(data.replace(text, b"\xff" + text[1:], 1))


def test_a_frame_without_a_former_position() -> None:
    assert json.loads(frame("sales", None, PREV, []))["prev"] is None
