"""The pace: bursts at once, then one tick every so often, and what is saved up is bounded."""

from hypothesis import given
from hypothesis import strategies as st

from listener_service.pace import Budget, Pace


def cut_at(budget: Budget, now: float) -> float:
    """Cut as soon as allowed; returns when."""
    now += budget.wait(now)
    budget.spend()
    return now


def test_a_burst_goes_at_once_then_one_tick_every_so_often() -> None:
    budget = Budget(Pace(tick=1.0, burst=3), now=100.0)
    times = [100.0]
    for _ in range(6):
        times.append(cut_at(budget, times[-1]))
    assert times[1:] == [100.0, 100.0, 100.0, 101.0, 102.0, 103.0]


def test_what_is_saved_up_is_bounded() -> None:
    budget = Budget(Pace(tick=1.0, burst=2), now=0.0)
    assert [cut_at(budget, 1000.0) for _ in range(2)] == [1000.0, 1000.0]
    assert budget.wait(1000.0) == 1.0


@given(st.lists(st.floats(0, 50), max_size=60), st.integers(1, 5))
def test_never_more_than_the_burst_and_one_a_tick(gaps: list[float], burst: int) -> None:
    budget = Budget(Pace(tick=1.0, burst=burst), now=0.0)
    now, cuts = 0.0, []
    for gap in gaps:
        now = cut_at(budget, now + gap)
        cuts.append(now)
    for first, start in enumerate(cuts):
        for last in range(first, len(cuts)):
            assert last - first + 1 <= burst + cuts[last] - start + 1e-6
