"""How long each fault was felt, and how late events were, second by second: by what steady clients heard, and when.

A fault is over for a client when it hears an event whose commit began after the fault did: then all hops work again.
"""

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from notifiws.verify.history import Commit, Fault, Frame, Who
from notifiws.verify.reference import Reference

_SAMPLES = 400  # of one second


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of them do not exceed."""
    return sorted_values[max(0, ceil(share * len(sorted_values)) - 1)]


@dataclass
class Recovery:
    """One fault: seconds from its beginning until each steady client heard something newer, those who did."""

    fault: Fault
    clients: list[float] = field(default_factory=list)
    # Whether another fault was felt meanwhile: then its time is not its own.
    met: bool = False

    @property
    def over(self) -> float:
        """When it was healed and every client was back that came back."""
        return max(self.fault.healed, self.fault.at + max(self.clients, default=0.0))

    def document(self) -> dict[str, Any]:
        """For JSON: when the first was back, the usual one, and the last."""
        times = sorted(self.clients)
        return {
            "at": round(self.fault.at, 3),
            "held": round(self.fault.healed - self.fault.at, 3),
            "kind": self.fault.kind,
            "target": self.fault.target,
            "alone": not self.met,
            "clients": len(times),
            "first": round(times[0], 3) if times else None,
            "p50": round(percentile(times, 0.5), 3) if times else None,
            "last": round(times[-1], 3) if times else None,
        }


class Recoveries:
    """Fed with each frame of each steady client, client by client."""

    def __init__(self, faults: Sequence[Fault], commits: Iterable[Commit], reference: Reference) -> None:
        self.all = [Recovery(fault) for fault in sorted(faults, key=lambda fault: fault.at)]
        self._reference = reference
        self._commits: Mapping[int, Commit] = {commit.tx: commit for commit in commits}
        self._late: dict[int, array[float]] = defaultdict(lambda: array("f"))
        self._count: dict[int, int] = defaultdict(int)
        self._waiting: list[Recovery] = []
        self._next = 0

    def watcher(self, who: Who) -> Callable[[Frame], None] | None:
        """What to feed this client's frames to."""
        if not who.steady:
            return None
        self._waiting, self._next = [], 0
        return self._frame

    def _frame(self, frame: Frame) -> None:
        while self._next < len(self.all) and self.all[self._next].fault.at <= frame.at:
            self._waiting.append(self.all[self._next])
            self._next += 1
        event = self._reference.events[frame.place[0]].get(frame.ids[-1])
        commit = self._commits.get(event.tx) if event else None
        if commit is None:
            return
        if self._waiting:
            still = []
            for recovery in self._waiting:
                if commit.began >= recovery.fault.at:
                    recovery.clients.append(frame.at - recovery.fault.at)
                else:
                    still.append(recovery)
            self._waiting = still
        second = int(frame.at)
        count = self._count[second] = self._count[second] + 1
        samples = self._late[second]
        if len(samples) < _SAMPLES:
            samples.append(max(0.0, frame.at - commit.returned))
        elif count % 8 == 0:
            samples[count // 8 % _SAMPLES] = max(0.0, frame.at - commit.returned)

    def compare(self) -> None:
        """All frames were seen: find the faults that met others."""
        over, before = -1.0, None
        for recovery in self.all:
            if before is not None and recovery.fault.at < over:
                recovery.met = before.met = True
            if recovery.over > over:
                over, before = recovery.over, recovery

    def seconds(self) -> list[dict[str, float]]:
        """Second by second: commit → client in ms (p50, p99, max), frames."""
        found = []
        for second in sorted(self._late):
            late = sorted(self._late[second])
            found.append(
                {
                    "second": second,
                    "p50_ms": round(percentile(late, 0.5) * 1e3, 2),
                    "p99_ms": round(percentile(late, 0.99) * 1e3, 2),
                    "max_ms": round(late[-1] * 1e3, 2),
                    "frames": self._count[second],
                }
            )
        return found

    def kinds(self) -> list[dict[str, Any]]:
        """By kind of fault: how many, and how long until a client was back, of those that met no other."""
        grouped: dict[tuple[str, str], list[Recovery]] = defaultdict(list)
        for recovery in self.all:
            grouped[recovery.fault.kind, recovery.fault.target.partition(" ")[0]].append(recovery)
        rows = []
        for (kind, target), recoveries in sorted(grouped.items()):
            alone = [recovery for recovery in recoveries if not recovery.met]
            times = sorted(time for recovery in alone for time in recovery.clients)
            held = sorted(recovery.fault.healed - recovery.fault.at for recovery in recoveries)
            rows.append(
                {
                    "kind": kind,
                    "target": target,
                    "faults": len(recoveries),
                    "alone": len(alone),
                    "held_max": round(held[-1], 3),
                    "p50": round(percentile(times, 0.5), 3) if times else None,
                    "p99": round(percentile(times, 0.99), 3) if times else None,
                    "max": round(times[-1], 3) if times else None,
                }
            )
        return rows
