"""A log row → an event object: exact bytes, exact digits, and where the payload lies."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from shared.event import OPS, LogRow, encode_event, timestamp

AT = datetime(2026, 11, 24, 10, 0, 0, 123456, tzinfo=UTC)


def log_row(op: str, **fields: object) -> LogRow:
    """A row with nothing but what `fields` say."""
    base: dict[str, object] = dict.fromkeys(("source", "key", "new", "old", "payload"))
    base |= {"id": 9931, "tx": "7812", "channel": "stock", "op": op, "is_json": True, "at": AT}
    return LogRow(**(base | fields))  # type: ignore[arg-type]


def test_an_update_is_the_contract_s_example() -> None:
    row = log_row(
        "update",
        source="public.productos",
        key='{"id": 7}',
        new='{"id": 7, "nombre": "Té", "stock": 3}',
        old='{"id": 7, "stock": 12}',
    )
    event = encode_event(row)
    assert json.loads(event.data) == {
        "id": 9931,
        "op": "update",
        "table": "public.productos",
        "key": {"id": 7},
        "new": {"id": 7, "nombre": "Té", "stock": 3},
        "old": {"id": 7, "stock": 12},
        "tx": "7812",
        "at": "2026-11-24T10:00:00.123456Z",
    }
    start, end = event.payload
    assert event.data[start:end].decode() == row.new


@pytest.mark.parametrize(("op", "fields"), [("delete", {"old": '{"a":1}', "key": '{"a":1}'}), ("truncate", {})])
def test_without_a_new_row_plain_clients_get_the_whole_object(op: str, fields: dict[str, str]) -> None:
    event = encode_event(log_row(op, source='public."T ""x"', **fields))
    assert event.payload == (0, 0)
    decoded = json.loads(event.data)
    assert "new" not in decoded
    assert decoded["table"] == 'public."T ""x"'
    assert decoded["key"] == json.loads(fields.get("key", "null"))


@pytest.mark.parametrize(
    "text", ['{"a" :  1}', "12345678901234567890.123456789", '"ñ"', "null", "[1,\n2]", '"\\u0000"']
)
def test_a_payload_is_carried_verbatim(text: str) -> None:
    event = encode_event(log_row("emit", payload=text))
    start, end = event.payload
    assert event.data[start:end].decode() == text
    assert not event.text
    json.loads(event.data)


def test_a_null_payload_is_null() -> None:
    assert json.loads(encode_event(log_row("result", payload=None)).data)["payload"] is None


@pytest.mark.parametrize("text", ["", "hola ñ", 'say "hi"\n\t\x01', "{not json", "\U0001f600" * 3, "\\"])
def test_what_is_not_json_travels_as_a_string_and_says_so(text: str) -> None:
    event = encode_event(log_row("notify", payload=text, is_json=False))
    decoded = json.loads(event.data)
    assert decoded["payload"] == text
    assert decoded["json"] is False
    start, end = event.payload
    assert json.loads(event.data[start:end]) == text
    assert event.text


def test_an_op_of_a_newer_release_is_an_error() -> None:
    with pytest.raises(KeyError):
        encode_event(log_row("merge"))


def test_op_codes_never_change() -> None:
    assert OPS == ("insert", "update", "delete", "truncate", "emit", "notify", "result")


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (AT, "2026-11-24T10:00:00.123456Z"),
        (AT.replace(microsecond=5), "2026-11-24T10:00:00.000005Z"),
        (AT.replace(microsecond=120000), "2026-11-24T10:00:00.120000Z"),
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00.000000Z"),
        (datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30))), "2025-12-31T19:30:00.000000Z"),
    ],
)
def test_timestamps_are_utc_with_microseconds(at: datetime, text: str) -> None:
    assert timestamp(at) == text
