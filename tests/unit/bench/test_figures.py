import doctest
import math

import bench.figures
from bench.figures import distribution, percentile, summary


def test_the_examples() -> None:
    assert doctest.testmod(bench.figures).failed == 0


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(value) for value in range(1, 101)]
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile(values, 1.0) == 100
    assert percentile([7.0], 0.01) == 7


def test_a_distribution_is_in_milliseconds_and_keeps_what_is_below_zero() -> None:
    figures = distribution([0.004, -0.001, 0.002], "idle.after_commit")
    assert figures["idle.after_commit.count"] == 3
    assert figures["idle.after_commit.min_ms"] == -1
    assert figures["idle.after_commit.p50_ms"] == 2
    assert figures["idle.after_commit.max_ms"] == 4
    assert math.isclose(figures["idle.after_commit.mean_ms"], 5 / 3)


def test_without_samples_there_is_only_the_count() -> None:
    assert distribution([], "x") == {"x.count": 0}


def test_a_summary_is_the_median_with_least_and_greatest() -> None:
    over = summary([{"a": 3.0}, {"a": 1.0, "b": 5.0}, {"a": 2.0}])
    assert over == {
        "a": {"median": 2.0, "min": 1.0, "max": 3.0, "rounds": 3},
        "b": {"median": 5.0, "min": 5.0, "max": 5.0, "rounds": 1},
    }
