"""The listener's metrics. Times are seconds."""

import contextlib

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from shared.metrics import LATENCY_BUCKETS


class Metrics:
    """One set, in one registry; a process has one, each test its own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()

        def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(f"notifiws_listener_{name}", text, labels, registry=self.registry)

        def gauge(name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
            return Gauge(f"notifiws_listener_{name}", text, labels, registry=self.registry)

        def latency(name: str, text: str) -> Histogram:
            return Histogram(f"notifiws_listener_{name}", text, buckets=LATENCY_BUCKETS, registry=self.registry)

        self.leader = gauge("leader", "1 while this listener holds the leader lock")
        self.tick = gauge("tick", "Number of the newest tick that is wholly published")
        self.lag = gauge("lag_seconds", "Age of the oldest tick that is not wholly published, 0 when all are")
        self.ticks = counter("ticks_total", "Ticks wholly published")
        self.events = counter("events_total", "Events of published ticks")
        self.publications = counter("publications_total", "Appends that Redis took")
        self.published_bytes = counter("published_bytes_total", "Bytes of those appends")
        self.statement_to_tick = latency("statement_to_tick_seconds", "Oldest event's statement to its tick")
        self.tick_to_publish = latency("tick_to_publish_seconds", "A tick's arrival in the relay to its last append")
        self.polls = counter("polls_total", "Looks into the log, by what was found", ("found",))
        self.asleep = gauge("doorbell_asleep", "1 while the relay sleeps and writers ring")
        self.rings = counter("doorbell_rings_total", "Rings heard")
        self.deaf = counter("doorbell_deaf_total", "Self-probes through NOTIFY that were not heard")
        self.watches_broken = gauge("watches_broken", "Watches that are not in force")
        self.strangers = gauge("foreign_locks", "Locks of the listener's that strangers hold")
        self.queue_usage = gauge("notify_queue_usage", "Used part of Postgres' NOTIFY queue, 0 to 1")
        self.adopted = counter("adopted_total", "Adopted NOTIFY payloads written to the log")
        self.adopted_dropped = counter(
            "adopted_dropped_total", "Adopted NOTIFY payloads dropped, by reason", ("reason",)
        )
        self.adopted_queued = gauge("adopted_queued_bytes", "Adopted payloads that wait for the log")
        self.refused = counter("refused_heads_total", "Appends that Redis refused, by what that revealed", ("found",))
        self.left_out = counter(
            "left_out_total", "Events left out because they are too large, by whom for", ("too_large_for",)
        )
        self.reseeding = gauge("reseeding", "1 while Redis' window is being built anew from the log")
        self.reseeded = counter("reseeded_total", "Times that Redis' window was built anew from the log")
        self.redis_changed = counter(
            "redis_changed_total", "Times that Redis was found restarted, or another one in its place, while publishing"
        )
        self.redis_lost = counter("redis_lost_total", "Times that Redis was found to have lost its newest writes")
        self.reconnects = counter("reconnects_total", "Connections made again, by what they are for", ("connection",))
        self.leaderships = counter("leaderships_total", "Times that this listener became the leader")
        self.live_query_runs = Counter(
            "notifiws_live_query_runs_total",
            "Runs of live queries that went well, by outcome",
            ["channel", "outcome"],
            registry=self.registry,
        )
        self.live_query_errors = Counter(
            "notifiws_live_query_errors_total",
            "Runs of live queries that failed",
            ["channel"],
            registry=self.registry,
        )
        self.live_query_seconds = Histogram(
            "notifiws_live_query_seconds",
            "How long a live query ran",
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.log_bytes = gauge("log_bytes", "What the log takes on Postgres' disk")
        self.shortened = counter(
            "retention_shortened_total", "Times that the log kept less than the retention, to stay within its bounds"
        )
        self.rotations = counter("retention_rotations_total", "Slots of the log that retention emptied")

    def forget_live_query(self, channel: str) -> None:
        """A dropped query's series end."""
        for labels in ((channel, "changed"), (channel, "unchanged")):
            with contextlib.suppress(KeyError):
                self.live_query_runs.remove(*labels)
        with contextlib.suppress(KeyError):
            self.live_query_errors.remove(channel)
