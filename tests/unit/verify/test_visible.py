"""What a snapshot sees, and the search for what it sees and comes too late: equal to looking at each transaction."""

from hypothesis import given
from hypothesis import strategies as st

from notifiws.verify.visible import LastPlaces, Snapshot, parse

TXS = st.integers(1, 30)


def test_a_snapshot_is_read_as_postgres_writes_it() -> None:
    assert parse("10:14:10,12") == Snapshot(14, (10, 12))
    assert [tx for tx in range(8, 16) if parse("10:14:10,12").sees(tx)] == [8, 9, 11, 13]
    assert parse("10:10:").running == ()


@given(st.dictionaries(TXS, st.integers(0, 50), max_size=20), TXS, st.lists(TXS, max_size=6), TXS, st.integers(0, 50))
def test_the_search_finds_one_exactly_if_there_is_one(
    last: dict[int, int], xmax: int, running: list[int], own: int, place: int
) -> None:
    snapshot = Snapshot(xmax, tuple(sorted({tx for tx in running if tx < xmax})))
    late = {tx for tx, at in last.items() if tx != own and snapshot.sees(tx) and at > place}
    found = LastPlaces(last).beyond(snapshot, own, place)
    assert found in late if late else found is None
