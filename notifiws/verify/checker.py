"""The checker: a pure function of a recorded history. No clock, no chance, no I/O but reading the history.

`chains.py` holds each client against the protocol and the others, `truths.py` holds all of them against the tables.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from notifiws.verify.chains import Chain, check_client
from notifiws.verify.history import History
from notifiws.verify.recovery import Recoveries
from notifiws.verify.reference import Reference
from notifiws.verify.truths import Truths
from notifiws.verify.verdict import Verdict


@dataclass(frozen=True)
class Checked:
    """The verdict, and how long faults were felt."""

    verdict: Verdict
    recoveries: Recoveries


def check(history: History) -> Checked:
    """Find every violation that the history shows. Equal histories give equal answers."""
    verdict = Verdict()
    with _no_collections():
        reference = Reference(history.events(), verdict)
        truths = Truths(history.truths(), reference, verdict)
        truths.match()
        recoveries = Recoveries(history.faults, history.commits(), reference)
        chains: list[Chain] = []
        for who in history.clients:
            verdict.seen["clients"] += 1
            found = check_client(
                who,
                history.records(who),
                reference,
                verdict,
                truth_of=truths.find,
                watch=recoveries.watcher(who),
            )
            chains += found.values()
        recoveries.compare()
        excused = truths.lost(chains, history.ticks())
        truths.ordered()
        truths.state(history.finals(), excused)
    verdict.seen["faults"] = len(history.faults)
    return Checked(verdict, recoveries)


@contextmanager
def _no_collections() -> Iterator[None]:
    """Millions of small objects and no cycles: the collector would only walk over them again and again."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
