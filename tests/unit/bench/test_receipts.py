"""What a client notes: a lost, repeated or foreign row and a gap must not go unseen."""

import json

from bench.load.receipts import Receipts, place


def frame(prev: str, position: str, *seqs: int) -> bytes:
    events = [{"id": seq, "op": "insert", "new": {"seq": seq, "nota": "x"}} for seq in seqs]
    return json.dumps({"type": "events", "prev": prev, "position": position, "events": events}).encode()


def subscribed(position: str) -> bytes:
    return json.dumps({"type": "subscribed", "id": 1, "position": position, "head": position}).encode()


def test_rows_are_counted_once_with_the_time_they_came_first() -> None:
    receipts = Receipts(first=10, rows=3)
    receipts.plain(b'{"seq": 9}', 1.0)
    assert receipts.warm
    assert receipts.got == 0
    receipts.plain(b'{"seq": 10, "nota": "x"}', 2.0)
    receipts.plain(b'{"seq": 12}', 3.0)
    receipts.plain(b'{"seq": 10}', 4.0)
    receipts.plain(b'{"seq": 13}', 5.0)
    assert list(receipts.at) == [2.0, 0.0, 3.0]
    assert (receipts.got, receipts.duplicated, receipts.foreign, receipts.last) == (2, 1, 1, 5.0)


def test_a_gap_is_a_prev_beyond_the_position() -> None:
    receipts = Receipts(first=0, rows=10)
    receipts.v1(subscribed("e:5-50"), 1.0)
    receipts.v1(frame("e:5-50", "e:6-61", 0, 1), 2.0)
    receipts.v1(frame("e:5-50", "e:7-70", 2), 3.0)  # from further back: no gap
    receipts.v1(frame("e:7-70", "e:7-70"), 4.0)  # stood still
    assert receipts.gaps == 0
    receipts.v1(frame("e:8-80", "e:9-90", 3), 5.0)
    assert receipts.gaps == 1
    receipts.v1(frame("f:9-90", "f:10-91", 4), 6.0)
    assert receipts.gaps == 2
    assert receipts.got == 5


def test_a_refusal_is_kept() -> None:
    receipts = Receipts(first=0, rows=1)
    receipts.v1(b'{"type": "welcome", "session": "x"}', 1.0)
    assert receipts.refused is None
    receipts.v1(b'{"type": "error", "id": 1, "code": "limit", "message": "too many"}', 1.0)
    assert receipts.refused == "error limit too many"


def test_positions_sort_by_tick_then_event() -> None:
    assert place("e:2-9") < place("e:10-1") < place("e:10-2")
