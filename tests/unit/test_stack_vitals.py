"""When a part is started again, over times that the test makes up."""

import pytest

from notifiws.stack.vitals import SILENCE_SECONDS, STEADY_SECONDS, Vitals


def test_deaths_in_a_row_wait_longer_and_longer_up_to_ten_seconds() -> None:
    vitals = Vitals()
    waits = []
    for now in range(20):
        vitals.launched(now)
        waits.append(vitals.died(now + 0.5, chance=0.999999))
    assert waits[:4] == pytest.approx([0.1, 0.2, 0.4, 0.8], rel=1e-3)
    assert waits[-1] == pytest.approx(10.0, rel=1e-3)


def test_jitter_is_full() -> None:
    vitals = Vitals()
    vitals.launched(0)
    assert vitals.died(1, chance=0.0) == 0.0


def test_a_steady_run_forgets_former_deaths() -> None:
    vitals = Vitals()
    for now in range(5):
        vitals.launched(now)
        vitals.died(now)
    assert vitals.failures == 5
    vitals.launched(10)
    vitals.died(10 + STEADY_SECONDS)
    assert vitals.failures == 1


def test_silence_counts_from_the_first_unanswered_probe() -> None:
    vitals = Vitals()
    vitals.launched(0)
    assert not vitals.unanswered(100, 103)
    assert not vitals.unanswered(105, 100 + SILENCE_SECONDS - 0.1)
    assert vitals.unanswered(112, 100 + SILENCE_SECONDS)


def test_an_answer_ends_the_silence() -> None:
    vitals = Vitals()
    vitals.launched(0)
    vitals.unanswered(100, 103)
    vitals.answered()
    assert not vitals.unanswered(100 + SILENCE_SECONDS, 103 + SILENCE_SECONDS)


def test_our_own_sleep_is_nobodys_silence() -> None:
    vitals = Vitals()
    vitals.launched(0)
    vitals.answered()
    # Stopped for an hour between two probes: the first one after it starts the count.
    assert not vitals.unanswered(3600, 3603)


def test_a_new_launch_starts_without_silence() -> None:
    vitals = Vitals()
    vitals.launched(0)
    vitals.unanswered(1, 4)
    vitals.launched(20)
    assert not vitals.unanswered(21, 24)
