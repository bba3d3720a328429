"""From raw samples to figures: percentiles of one round, median and spread over the rounds."""

from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from statistics import fmean, median

Figures = dict[str, float]

_PERCENTILES = {"p50": 0.50, "p90": 0.90, "p99": 0.99, "p999": 0.999}


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of values in ascending order: always one that was measured.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 0.5), percentile([1.0, 2.0, 3.0, 4.0], 0.99)
    (2.0, 4.0)
    """
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def distribution(seconds: Iterable[float], prefix: str) -> Figures:
    """Samples in seconds → `<prefix>.p50_ms`, `.max_ms`, `.mean_ms`, … and `.count`; without any only the count."""
    ordered = sorted(seconds)
    figures: Figures = {f"{prefix}.count": float(len(ordered))}
    if not ordered:
        return figures
    figures |= {f"{prefix}.{name}_ms": percentile(ordered, share) * 1e3 for name, share in _PERCENTILES.items()}
    figures |= {
        f"{prefix}.min_ms": ordered[0] * 1e3,
        f"{prefix}.max_ms": ordered[-1] * 1e3,
        f"{prefix}.mean_ms": fmean(ordered) * 1e3,
    }
    return figures


def summary(rounds: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Over the rounds of one contender: each figure's median, least and greatest, and in how many rounds it was."""
    keys = dict.fromkeys(key for figures in rounds for key in figures)
    over: dict[str, dict[str, float]] = {}
    for key in keys:
        values = [figures[key] for figures in rounds if key in figures]
        over[key] = {"median": median(values), "min": min(values), "max": max(values), "rounds": len(values)}
    return over
