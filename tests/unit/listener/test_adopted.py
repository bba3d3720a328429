"""The queue between NOTIFY and the log: in order, bounded, and honest about what it drops."""

from listener_service.adopted import TAKE_ROWS, AdoptedQueue
from listener_service.metrics import Metrics


def queue(max_bytes: int = 64_000_000) -> tuple[AdoptedQueue, Metrics, list[None]]:
    metrics, rung = Metrics(), list[None]()
    return AdoptedQueue(metrics, lambda: rung.append(None), max_bytes), metrics, rung


def dropped(metrics: Metrics, reason: str) -> float | None:
    return metrics.registry.get_sample_value("notifiws_listener_adopted_dropped_total", {"reason": reason})


def test_in_order_and_gone_only_when_taken() -> None:
    subject, _, rung = queue()
    for number in range(TAKE_ROWS + 5):
        subject.put("sales", str(number))
    first = subject.take()
    assert subject.take() == first
    subject.taken()
    rest = subject.take()
    assert [payload for _, payload in [*first, *rest]] == [str(number) for number in range(TAKE_ROWS + 5)]
    assert len(rung) == TAKE_ROWS + 5


def test_what_arrives_between_take_and_taken_stays() -> None:
    subject, _, _ = queue()
    subject.put("sales", "1")
    subject.take()
    subject.put("sales", "2")
    subject.taken()
    assert subject.take() == [("sales", "2")]


def test_full_drops_the_newest_counts_it_and_recovers() -> None:
    subject, metrics, _ = queue(max_bytes=500)
    subject.put("sales", "x" * 200)
    subject.put("sales", "y" * 200)
    assert dropped(metrics, "full") == 1
    assert len(subject.take()) == 1
    subject.taken()
    subject.put("sales", "z" * 200)
    assert subject.take() == [("sales", "z" * 200)]


def test_the_end_of_a_leadership_empties_it() -> None:
    subject, metrics, _ = queue()
    subject.put("sales", "1")
    subject.take()
    subject.clear()
    assert subject.take() == []
    assert dropped(metrics, "leadership") == 1
    assert metrics.registry.get_sample_value("notifiws_listener_adopted_queued_bytes") == 0


def test_one_take_stays_small() -> None:
    subject, _, _ = queue()
    for _ in range(400):
        subject.put("sales", "x" * 7_900)
    assert sum(len(payload) for _, payload in subject.take()) <= 1_000_000
