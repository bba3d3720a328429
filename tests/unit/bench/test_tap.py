from datetime import UTC, datetime

from bench.load.tap import read
from shared.event import LogRow, encode_event
from shared.position import Position
from shared.publication import encode


def test_each_row_has_its_statements_time_its_ticks_and_its_publications() -> None:
    at = datetime(2026, 11, 24, 10, 0, 0, 250_000, tzinfo=UTC)
    rows = [
        LogRow(number, "7", "c", "insert", "public.t", None, f'{{"seq":{seq}}}', None, None, True, at)
        for number, seq in enumerate((99, 100, 102), start=1)
    ]
    data = encode("c", Position("e", 0, 0), Position("e", 1, 3), 1_764_000_000_500_000, [*map(encode_event, rows)])
    written, cut, heard, publications = read([(5.0, data), (6.0, data)], first=100, rows=3)
    assert list(written) == [at.timestamp(), 0.0, at.timestamp()]
    assert list(cut) == [1_764_000_000.5, 0.0, 1_764_000_000.5]
    assert list(heard) == [5.0, 0.0, 5.0]
    assert publications == 1, "one that brings nothing new is not counted"
