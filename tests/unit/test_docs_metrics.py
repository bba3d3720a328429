"""docs/metrics.md lists exactly the metrics of both services, as they describe themselves."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from listener_service.metrics import Metrics
from ws_service.metrics import NodeMetrics

PAGE = Path(__file__).parents[2] / "docs/metrics.md"


def table(metrics: object, registry: CollectorRegistry) -> str:
    """The section's table."""
    rows = ["| metric | kind | labels | what it says |", "|---|---|---|---|"]
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            (family,) = metric.describe()
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = " ".join(f"`{label}`" for label in metric._labelnames)
            rows.append(f"| `{name}` | {family.type} | {labels} | {family.documentation} |")
    assert len(rows) == 2 + len(list(registry._collector_to_names))
    return "\n".join(rows)


@pytest.mark.parametrize(("title", "metrics"), [("Listener", Metrics()), ("Node", NodeMetrics())])
def test_metrics(title: str, metrics: Metrics | NodeMetrics) -> None:
    section = PAGE.read_text(encoding="utf-8").split(f"## {title}\n")[1].split("\n## ")[0]
    assert table(metrics, metrics.registry) in section
