"""When a part is started again: a state machine over times, without processes and without a clock of its own."""

from dataclasses import dataclass

from shared.backoff import backoff

# A part whose /healthz stays silent this long is frozen (the contract's number).
SILENCE_SECONDS = 15.0
# A part that ran this long was well: its next death begins with short waits again.
STEADY_SECONDS = 10.0


@dataclass(slots=True)
class Vitals:
    """What is known of one part's life. All times are seconds of one monotonic clock."""

    launched_at: float | None = None
    # The first of the unanswered probes since the last answer.
    silent_since: float | None = None
    # Deaths in a row, none of them after a steady run.
    failures: int = 0
    launches: int = 0

    def launched(self, now: float) -> None:
        """It was started (or the attempt was made)."""
        self.launched_at = now
        self.silent_since = None
        self.launches += 1

    def died(self, now: float, chance: float | None = None) -> float:
        """It ended. Returns the seconds to wait before the next launch, full jitter."""
        if self.launched_at is not None and now - self.launched_at >= STEADY_SECONDS:
            self.failures = 0
        self.failures += 1
        self.launched_at = None
        return backoff(self.failures, first=0.1, most=10.0, chance=chance)

    def answered(self) -> None:
        """A probe was answered."""
        self.silent_since = None

    def unanswered(self, asked_at: float, now: float) -> bool:
        """A probe sent at `asked_at` was not answered by `now`. Returns whether the part counts as frozen.

        Only probes count: when we ourselves were stopped for a minute, no part was silent.
        """
        if self.silent_since is None:
            self.silent_since = asked_at
        return now - self.silent_since >= SILENCE_SECONDS
