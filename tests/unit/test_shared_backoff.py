"""Full jitter: uniform under a doubling ceiling."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import backoff as module
from shared.backoff import backoff


def test_the_docstring_s_examples() -> None:
    assert doctest.testmod(module).failed == 0


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_never_beyond_the_ceiling(attempt: int, chance: float) -> None:
    assert 0 <= backoff(attempt, first=0.1, most=5.0, chance=chance) <= min(5.0, 0.1 * 2 ** min(attempt - 1, 32))


@pytest.mark.parametrize("attempt", [1, 2, 9])
def test_two_who_lost_the_same_server_do_not_come_back_together(attempt: int) -> None:
    assert len({backoff(attempt) for _ in range(20)}) > 10
