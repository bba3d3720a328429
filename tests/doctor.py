"""`notifiws doctor` in this process: one examination, and its findings by code."""

import asyncio
from dataclasses import dataclass
from typing import Any

from notifiws.doctor.examine import Patient, examine
from notifiws.doctor.finding import Finding
from notifiws.doctor.report import Report
from shared.settings import Settings


@dataclass(frozen=True)
class Examined:
    """A report, and what tests ask of it."""

    report: Report

    @property
    def codes(self) -> set[str]:
        """Of all findings."""
        return {finding.code for finding in self.report.findings}

    @property
    def errors(self) -> set[str]:
        """Codes of errors."""
        return {finding.code for finding in self.report.findings if finding.severity == "error"}

    def __getitem__(self, code: str) -> Finding:
        """The one finding of that code."""
        found = [finding for finding in self.report.findings if finding.code == code]
        assert len(found) == 1, f"{code}: {found} of {self.codes}"
        return found[0]

    @property
    def unchecked(self) -> dict[str, str]:
        """Why, by subject."""
        return {each.subject: each.why for each in self.report.facts.unchecked}


async def doctor(
    database_url: str | None, redis_url: str | None = None, *, reader_url: str | None = None, **settings: Any
) -> Examined:
    """Examine these servers."""
    patient = Patient(Settings(_env_file=None, **settings), {}, database_url, redis_url, reader_url)  # type: ignore[call-arg]
    async with asyncio.timeout(60):
        return Examined(await examine(patient))
