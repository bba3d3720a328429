"""What a node counts. docs/metrics.md lists them; a registry of its own, so that several nodes fit in one process."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from shared.metrics import LATENCY_BUCKETS


class NodeMetrics:
    """Every metric of a node, by what it says."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.connections = Gauge(
            "notifiws_node_connections", "Open connections of clients", ["endpoint"], registry=registry
        )
        self.refused = Counter(
            "notifiws_node_refused_total",
            "Connections and subscriptions refused, by why",
            ["reason"],
            registry=registry,
        )
        self.closes = Counter(
            "notifiws_node_closes_total", "Connections that this node closed, by code", ["code"], registry=registry
        )
        self.subscriptions = Gauge("notifiws_node_subscriptions", "Subscriptions of all connections", registry=registry)
        self.channels = Gauge("notifiws_node_channels", "Channels followed in Redis", registry=registry)
        self.messages = Counter("notifiws_node_messages_out_total", "Messages written to clients", registry=registry)
        self.bytes = Counter("notifiws_node_bytes_out_total", "Bytes of these messages", registry=registry)
        self.publications = Counter(
            "notifiws_node_publications_total",
            "Publications received, by the way they came",
            ["way"],
            registry=registry,
        )
        self.gaps = Counter(
            "notifiws_node_gaps_total", "Times that a channel was read from the stream after a gap", registry=registry
        )
        self.resets = Counter(
            "notifiws_node_resets_total", "Subscriptions told to fetch afresh", ["reason"], registry=registry
        )
        self.resumes = Counter(
            "notifiws_node_resumes_total", "Subscriptions with a past, by outcome", ["outcome"], registry=registry
        )
        self.history = Counter(
            "notifiws_node_history_pages_total",
            "Pages of history, by where they were looked for and what came of it",
            ["source", "outcome"],
            registry=registry,
        )
        self.slow = Counter("notifiws_node_slow_closes_total", "Connections closed as too slow", registry=registry)
        self.pages = Counter(
            "notifiws_node_pages_total",
            "Pages of events asked for over HTTP, by outcome",
            ["outcome"],
            registry=registry,
        )
        self.reconnects = Counter(
            "notifiws_node_redis_reconnects_total", "Times the pub/sub connection was made", registry=registry
        )
        self.lag = Gauge("notifiws_node_relay_lag_seconds", "Lag that the relay last reported", registry=registry)
        self.heartbeat = Gauge(
            "notifiws_node_relay_heartbeat_timestamp_seconds", "When the relay last reported", registry=registry
        )
        self.cut_to_node = Histogram(
            "notifiws_node_cut_to_node_seconds",
            "From the tick's cut in Postgres to the node (clocks of two machines)",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.node_to_socket = Histogram(
            "notifiws_node_to_socket_seconds",
            "From a publication's arrival until it was written to all its connections",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.stall = Histogram(
            "notifiws_node_loop_stall_seconds",
            "How late the event loop ran a timer",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        for way in ("live", "stream", "bad"):
            self.publications.labels(way)
