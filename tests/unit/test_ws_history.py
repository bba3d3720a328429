"""Reading streams: what cannot be read is left out, as a hole that the chain shows, and ends nothing."""

from typing import Any, cast

from shared.keys import Keys
from tests.unit.test_ws_feed import chain
from ws_service.history import History
from ws_service.metrics import NodeMetrics


def test_entries_that_cannot_be_read_are_left_out() -> None:
    (one,) = chain([1])
    not_ascii = one.data.replace(b"e1", b"\xff1", 1)
    assert not_ascii != one.data
    metrics = NodeMetrics()
    history = History(cast(Any, None), Keys("notifiws"), metrics)
    entries = [(b"1-1", {b"p": not_ascii}), (b"1-2", {b"p": b"short"}), (b"1-3", {}), (b"1-4", {b"p": one.data})]
    assert [found.position for found in history._decode(entries)] == [one.position]
    assert metrics.publications.labels("bad")._value.get() == 3
