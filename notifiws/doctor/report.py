"""An examination's outcome: what was looked at, what was found, and the exit code. For people, and as JSON."""

from collections.abc import Sequence, Set
from dataclasses import asdict, dataclass
from typing import Any, Final

from notifiws.doctor.facts import Facts
from notifiws.doctor.finding import Finding, Severity
from notifiws.printable import printable

# What a script must know first: Postgres away hides most of the rest, then Redis, then the schema.
_PRECEDENCE: Final = (4, 5, 6, 1)
_STYLES: Final = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.NOTE: "bold cyan"}


@dataclass(frozen=True)
class Report:
    """Findings, errors first, with the facts that they come from. `ends`: exit codes of the checks that found."""

    findings: Sequence[Finding]
    facts: Facts
    ends: Set[int]

    @property
    def exit_code(self) -> int:
        """0 unless something is lost, leaks or stands still; then the contract's code for it."""
        return next((code for code in _PRECEDENCE if code in self.ends), 0)

    def count(self, severity: Severity) -> int:
        """How many findings of a severity."""
        return sum(finding.severity is severity for finding in self.findings)

    def checked(self) -> list[tuple[str, str]]:
        """What was looked at, one line a part."""
        facts, lines = self.facts, []
        if (server := facts.server) is not None:
            lines.append(("postgres", f"PostgreSQL {server.release} at {server.where} as {server.role}"))
        if (schema := facts.schema) is not None and schema.problem is None:
            lines.append(("schema", f"version {schema.version}"))
        if facts.watches is not None:
            lines.append(("watches", f"{len(facts.watches)} watched, {len(facts.adopted or ())} adopted"))
        if (log := facts.log) is not None:
            size = f"{log.size / 1e6:.1f} MB"
            lines.append(("log", f"epoch {log.epoch}, tick {log.tick}, {size}, {log.lag:.1f} s behind"))
        if (redis := facts.redis) is not None:
            lines.append(("redis", f"{redis.product} {redis.version} at {redis.where} as {redis.user}"))
        lines += [
            (service.name, f"{service.url} {service.role or ''}".rstrip() + ("" if service.ready else ", not ready"))
            for service in facts.services or ()
        ]
        lines.append(("settings", f"notifiws {facts.local.version}"))
        return lines

    def as_json(self) -> dict[str, Any]:
        """The object of `doctor --json`."""
        return {
            "ok": self.exit_code == 0,
            "exit_code": self.exit_code,
            "version": self.facts.local.version,
            "findings": [asdict(finding) for finding in self.findings],
            "checked": [{"subject": subject, "what": what} for subject, what in self.checked()],
            "unchecked": [asdict(each) for each in self.facts.unchecked],
        }


def show(report: Report) -> None:
    """To stdout, for people. No line is cut: a mend could not be copied."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, markup=False)

    def line(*words: Text | str) -> None:
        console.print(*words, soft_wrap=True)

    def row(name: str, text: str, indent: int = 0) -> None:
        line(Text(" " * indent + name.ljust(11), "dim"), printable(text))

    for subject, what in report.checked():
        row(subject, what)
    for each in report.facts.unchecked:
        row("not checked", f"{each.subject}: {each.why}")
    for finding in report.findings:
        line()
        line(
            Text(finding.severity, _STYLES[finding.severity]), Text(f"{finding.code}:", "bold"), printable(finding.what)
        )
        row("why", finding.why, 2)
        row("fix", finding.fix, 2)
    counts = [(report.count(each), each.value) for each in Severity]
    said = ", ".join(f"{count} {name}{'s' if count != 1 else ''}" for count, name in counts if count)
    line(f"\n{said}" if said else "\nnothing found")
