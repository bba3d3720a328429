"""Listeners and nodes that were asked: are they there, ready, and of one release."""

from collections.abc import Iterator

from notifiws.doctor.facts import Facts, seen
from notifiws.doctor.finding import Found, Severity, check


@check(
    Severity.ERROR,
    mend="its own log says what it waits for; docs/errors.md lists the reasons",
)
def service_not_ready(facts: Facts) -> Iterator[Found]:
    """it serves nobody; what the log holds waits."""
    for service in seen(facts.services):
        if not service.ready:
            reasons = "; ".join(f"{reason.get('code')}: {reason.get('message')}" for reason in service.reasons)
            yield Found(f"{service.name} is not ready: {reasons or 'it gives no reason'}")


@check(
    Severity.WARNING,
    mend="docs/errors.md lists the warnings of /readyz",
)
def service_warning(facts: Facts) -> Iterator[Found]:
    """it serves, and somebody should look."""
    for service in seen(facts.services):
        for warning in service.warnings:
            yield Found(f"{service.name} warns: {warning.get('code')}: {warning.get('message')}")


@check(
    Severity.WARNING,
    mend="restart the older ones with the newer release",
)
def versions_differ(facts: Facts) -> Iterator[Found]:
    """during a rolling upgrade releases run side by side; for good, the older one lacks what the newer fixed."""
    versions = {service.name: service.version for service in seen(facts.services) if service.version}
    if len({*versions.values(), facts.local.version}) > 1 and versions:
        listed = ", ".join(f"{name} {version}" for name, version in versions.items())
        yield Found(f"not one release: {listed}, this command {facts.local.version}")
