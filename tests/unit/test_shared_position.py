"""Positions: what is one, how they sort, and that epochs have no order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.position import MAX_INT, BadPosition, Position

positions = st.builds(
    Position, st.from_regex(r"[a-z0-9]{1,32}", fullmatch=True), st.integers(0, MAX_INT), st.integers(0, MAX_INT)
)


@given(positions)
def test_written_and_read_again(position: Position) -> None:
    assert Position.parse(str(position)) == position
    assert Position.of_entry(position.epoch, position.entry_id) == position


@given(st.lists(st.tuples(st.integers(0, MAX_INT), st.integers(0, MAX_INT)), min_size=2, max_size=5))
def test_they_sort_by_tick_then_event_as_integers(orders: list[tuple[int, int]]) -> None:
    found = sorted(Position("e", *order) for order in orders)
    assert [position.order for position in found] == sorted(orders)
    assert found[0] <= found[-1] and found[-1] >= found[0]
    assert (found[0] < found[-1]) is (found[0] != found[-1]) is (found[-1] > found[0])


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "e:1", "e:1-", "e:-1-2", "e:1-2-3", "e:01-2", "e:1-02", "E:1-2", " e:1-2", "e:1-2 ", "e:1-2\n", "e1-2",
        ":1-2", "e:+1-2", "e:1.0-2", "e:１-2", "e:9223372036854775808-1", "e:1-9223372036854775808", "a" * 33 + ":1-2",
        None, 5, b"e:1-2", ["e:1-2"],
    ],
)  # fmt: skip
def test_anything_else_is_no_position(text: object) -> None:
    with pytest.raises(BadPosition):
        Position.parse(text)


def test_a_bad_position_is_not_repeated_at_length() -> None:
    nested: list[object] = []
    for _ in range(5_000):
        nested = [nested]
    for text in ("x" * 10_000, nested):
        with pytest.raises(BadPosition) as refused:
            Position.parse(text)
        assert len(str(refused.value)) < 200


@pytest.mark.parametrize("compare", ["__lt__", "__le__", "__gt__", "__ge__"])
def test_across_epochs_there_is_no_order(compare: str) -> None:
    with pytest.raises(ValueError, match="two epochs"):
        getattr(Position("a", 1, 1), compare)(Position("b", 1, 1))


def test_the_origin_is_before_everything() -> None:
    assert str(Position.origin("e")) == "e:0-0"
    assert Position.origin("e") < Position("e", 0, 1)
