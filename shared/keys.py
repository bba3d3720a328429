"""Names in Redis. All keys of one channel share the hash tag `{channel}`, so one script call works on a cluster too."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """Every Redis key and Redis pub/sub channel, under one namespace (`NOTIFIWS_NAMESPACE`)."""

    namespace: str

    @property
    def epoch(self) -> str:
        """String: the log's epoch, set by the leader before it publishes anything."""
        return f"{self.namespace}:epoch"

    @property
    def relay(self) -> str:
        """String and pub/sub channel: the leader's heartbeat, JSON (`epoch`, `tick`, `at_ms`, `lag_seconds`)."""
        return f"{self.namespace}:relay"

    @property
    def channels(self) -> str:
        """String: JSON list of the declared channels."""
        return f"{self.namespace}:channels"

    @property
    def live_queries(self) -> str:
        """String: `{"epoch", "term", "channels"}`, those that carry a live query, as the leader of that term says."""
        return f"{self.namespace}:live_queries"

    @property
    def published(self) -> str:
        """String: `<epoch>:<tick>:<floor>`, the last tick that is wholly published; behind the log, Redis lost it."""
        return f"{self.namespace}:published"

    @property
    def relay_probe(self) -> str:
        """String that expires: the relay writes it to learn whether Redis takes small writes."""
        return f"{self.namespace}:probe:relay"

    def stream(self, channel: str, epoch: str) -> str:
        """Stream: the channel's publications of one epoch, entry id `<tick>-<last event id>`, field `p`."""
        return f"{self.namespace}:{{{channel}}}:{epoch}:log"

    def sizes(self, channel: str, epoch: str) -> str:
        """List beside the stream, one `id bytes ms total` an entry: what trimming needs without reading entries."""
        return f"{self.namespace}:{{{channel}}}:{epoch}:sizes"

    def seeded(self, channel: str, epoch: str, name: str) -> tuple[str, str]:
        """Stream and list that expire: the channel's, as a leader builds them anew from the log."""
        base = f"{self.namespace}:{{{channel}}}:{epoch}:seed:{name}"
        return base, f"{base}:sizes"

    def live(self, channel: str) -> str:
        """Pub/sub channel of the channel's publications; without the epoch, so that nodes see a new one arrive."""
        return f"{self.namespace}:{{{channel}}}:live"

    def channel_of(self, live: str) -> str:
        """The channel whose pub/sub channel `live` is."""
        return live[len(self.namespace) + 2 : -len("}:live")]

    def node_probe(self, node: str) -> str:
        """Pub/sub channel through which a node hears itself: proof that its subscriptions are alive."""
        return f"{self.namespace}:probe:{node}"
