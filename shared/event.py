"""One event as JSON bytes, made once, in the listener, from a row of the log.

The database made the JSON texts of key, rows and payload; here they are only joined, so numbers keep Postgres' digits.
Where the payload lies inside the bytes is remembered, so that no node has to parse it to serve plain clients.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import msgspec

# The order is part of the publication's header format: append, never reorder.
OPS: Final = ("insert", "update", "delete", "truncate", "emit", "notify", "result")
_CODE: Final = {op: code for code, op in enumerate(OPS)}


@dataclass(frozen=True, slots=True)
class LogRow:
    """A row of `notifiws.outbox` as the cut reads it. JSON columns are texts, None where absent."""

    id: int
    tx: str
    channel: str
    op: str
    source: str | None
    key: str | None
    new: str | None
    old: str | None
    payload: str | None
    is_json: bool
    at: datetime
    left_out: int = 0  # bytes of a row that is larger than its reader wants: then new, old and payload were not read


@dataclass(frozen=True, slots=True)
class EncodedEvent:
    """An event object's bytes. `payload` (start, end) are byte offsets in `data` of what plain clients get,
    (0, 0) when they get the whole object; `text` says that it is a JSON string holding a text to send verbatim.
    No `data`: the event is left out, and the channel's chain breaks there.
    """

    id: int
    op: int
    data: bytes
    payload: tuple[int, int]
    text: bool


@lru_cache(maxsize=4096)
def _json_text(text: str) -> str:
    return msgspec.json.encode(text).decode()


def timestamp(at: datetime) -> str:
    """RFC 3339 in UTC with microseconds and `Z`, as events carry it."""
    # Ten times as fast as isoformat, and each event has one; but it leaves out a fraction of zero.
    text = msgspec.json.encode(at.astimezone(UTC)).decode()[1:-1]
    return text if at.microsecond else text[:-1] + ".000000Z"


def encode_event(row: LogRow) -> EncodedEvent:
    """Join a log row to its event object. Raises KeyError for an op that this release does not know."""
    code = _CODE[row.op]
    if row.left_out:
        return EncodedEvent(row.id, code, b"", (0, 0), False)
    tail = f',"tx":"{row.tx}","at":"{timestamp(row.at)}"}}'
    if row.op in ("emit", "notify", "result"):
        head = f'{{"id":{row.id},"op":"{row.op}","payload":'.encode()
        payload = (row.payload if row.is_json else msgspec.json.encode(row.payload).decode()) or "null"
        body = payload.encode()
        flag = "" if row.is_json else ',"json":false'
        data = b"".join((head, body, (flag + tail).encode()))
        return EncodedEvent(row.id, code, data, (len(head), len(head) + len(body)), not row.is_json)
    head = (
        f'{{"id":{row.id},"op":"{row.op}","table":{_json_text(row.source or "")},"key":{row.key or "null"}'
    ).encode()
    if row.new is None:
        span = (0, 0)
        body = b""
    else:
        head += b',"new":'
        body = row.new.encode()
        span = (len(head), len(head) + len(body))
    old = "" if row.old is None else f',"old":{row.old}'
    # Joined once: a row may have tens of megabytes.
    return EncodedEvent(row.id, code, b"".join((head, body, old.encode(), tail.encode())), span, False)
