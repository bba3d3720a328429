"""The timeline as inline SVG: latencies second by second on a log scale, and under them each fault in its lane."""

from collections.abc import Mapping, Sequence
from html import escape
from math import log10
from typing import Any, Final

_WIDTH: Final = 1080
_LEFT: Final = 150
_PLOT: Final = 220  # height of the latencies
_LANE: Final = 20
_POINTS: Final = 450  # at most, of a line
_LOWEST: Final = 1.0  # ms; what is below is drawn there


def timeline(seconds: float, latency: Sequence[Mapping[str, float]], faults: Sequence[Mapping[str, Any]]) -> str:
    """One `<svg>`; its colours are the page's CSS classes."""
    lanes = sorted({_lane(fault) for fault in faults})
    height = 30 + _PLOT + 34 + _LANE * len(lanes)
    span = max(seconds, 1.0)
    highest = max([100.0, *(each["max_ms"] for each in latency)])
    decades = max(1.0, log10(highest / _LOWEST))

    def x(second: float) -> float:
        return round(_LEFT + (_WIDTH - _LEFT - 10) * min(second / span, 1.0), 1)

    def y(ms: float) -> float:
        return round(20 + _PLOT * (1 - log10(max(ms, _LOWEST) / _LOWEST) / decades), 1)

    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="Latencies and faults over time">',
        *_grid(x, y, span, decades, height),
    ]
    for fault in faults:
        parts.append(f'<rect class="shade" x="{x(fault["at"])}" y="20" height="{_PLOT}" '
                     f'width="{_width(x, fault)}"/>')  # fmt: skip
    points = _thinned(latency)
    for name, field in (("max", "max_ms"), ("p99", "p99_ms"), ("p50", "p50_ms")):
        line = " ".join(f"{x(each['second'] + 0.5)},{y(each[field])}" for each in points)
        parts.append(f'<polyline class="line {name}" points="{line}"/>')
    for number, lane in enumerate(lanes):
        top = 20 + _PLOT + 34 + _LANE * number
        parts.append(f'<text class="lane" x="{_LEFT - 8}" y="{top + 13}" text-anchor="end">{escape(lane)}</text>')
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - 10}" y1="{top + 17}" y2="{top + 17}"/>')
        for fault in faults:
            if _lane(fault) == lane:
                parts += _bar(x, fault, top)
    parts.append("</svg>")
    return "\n".join(parts)


def _grid(x: Any, y: Any, span: float, decades: float, height: int) -> list[str]:
    parts = []
    for decade in range(int(decades) + 1):
        ms = 10**decade
        label = f"{ms} ms" if ms < 1000 else f"{ms // 1000} s"
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - 10}" y1="{y(ms)}" y2="{y(ms)}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y(ms) + 4}" text-anchor="end">{label}</text>')
    step = next((each for each in (5, 10, 30, 60, 300, 600, 1800) if span / each <= 14), 3600)
    for second in range(0, int(span) + 1, step):
        label = f"{second} s" if span < 300 else f"{second // 60} min"
        parts.append(f'<line class="grid" x1="{x(second)}" x2="{x(second)}" y1="20" y2="{height - 3}"/>')
        parts.append(f'<text x="{x(second)}" y="{20 + _PLOT + 18}" text-anchor="middle">{label}</text>')
    return parts


def _bar(x: Any, fault: Mapping[str, Any], top: int) -> list[str]:
    """What was held, and, fainter, until the last client was back."""
    last = fault["last"]
    said = f"{fault['kind']} {fault['target']} at {fault['at']:.1f} s, held {fault['held']:.1f} s" + (
        "" if last is None else f"; first client back after {fault['first']:.2f} s, last after {last:.2f} s"
    )
    felt = round(max(2.0, x(fault["at"] + (last or fault["held"])) - x(fault["at"])), 1)
    return [
        f"<g><title>{escape(said)}</title>",
        f'<rect class="felt" x="{x(fault["at"])}" y="{top + 3}" width="{felt}" height="12" rx="2"/>',
        f'<rect class="held" x="{x(fault["at"])}" y="{top + 3}" width="{_width(x, fault)}" height="12" rx="2"/></g>',
    ]


def _width(x: Any, fault: Mapping[str, Any]) -> float:
    return max(2.0, round(float(x(fault["at"] + fault["held"])) - float(x(fault["at"])), 1))


def _lane(fault: Mapping[str, Any]) -> str:
    """`kill listener`, `slow node-redis`: kind and what kind of place."""
    return f"{fault['kind']} {str(fault['target']).partition(' ')[0]}"


def _thinned(latency: Sequence[Mapping[str, float]]) -> list[Mapping[str, float]]:
    """Few enough points; of those that share one the worst stays, so that no peak is lost."""
    size = -(-len(latency) // _POINTS) or 1
    return [
        max(latency[start : start + size], key=lambda each: each["max_ms"]) for start in range(0, len(latency), size)
    ]
