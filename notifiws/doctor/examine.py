"""One examination: gathers all facts, at the same time where they do not depend on each other, and asks every check."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from notifiws.doctor.adapters import local, postgres, redis, services
from notifiws.doctor.catalogue import CHECKS
from notifiws.doctor.facts import Facts, Unchecked
from notifiws.doctor.report import Report
from notifiws.stack.directory import StackState
from shared.settings import Settings


@dataclass(frozen=True)
class Patient:
    """What is to be examined. None: there is no such address here."""

    settings: Settings
    environ: Mapping[str, str]
    database_url: str | None
    redis_url: str | None
    reader_url: str | None
    namespace: str = "notifiws"
    state: StackState | None = None
    services: Sequence[str] = ()


async def gather(patient: Patient) -> Facts:
    """All facts that are to be had."""
    fields: dict[str, Any] = {}
    unchecked: list[Unchecked] = []

    def take(gathered: dict[str, Any]) -> None:
        unchecked.extend(gathered.pop("unchecked", ()))
        fields.update(gathered)

    # Redis first: what it has published must be in the log that is read after it.
    if patient.redis_url is not None:
        take(await redis.gather(patient.redis_url, patient.namespace))
    else:
        unchecked.append(Unchecked("redis", "REDIS_URL is not set, and no stack runs in the data directory"))
    log, answers = await asyncio.gather(_log(patient), services.gather(patient.state, patient.services))
    take(log)
    if patient.state is not None or patient.services:
        fields["services"] = answers
    else:
        unchecked.append(Unchecked("services", "no stack runs in the data directory; --service URL names one"))
    directory = Path(patient.state["data_dir"]) if patient.state else None
    return Facts(local=local.gather(patient.settings, patient.environ, directory), unchecked=unchecked, **fields)


async def _log(patient: Patient) -> dict[str, Any]:
    if patient.database_url is None:
        gathered: dict[str, Any] = {
            "unchecked": [Unchecked("postgres", "DATABASE_URL is not set, and no stack runs in the data directory")]
        }
    else:
        gathered = await postgres.gather(patient.database_url)
    if patient.reader_url is not None and "postgres_away" not in gathered:
        gathered["reader"] = await postgres.gather_reader(patient.reader_url, patient.database_url)
    return gathered


async def examine(patient: Patient) -> Report:
    """Gather, and judge."""
    facts = await gather(patient)
    return judge(facts)


def judge(facts: Facts) -> Report:
    """What the checks find in these facts, errors first."""
    found = [(each, finding) for each in CHECKS for finding in each.findings(facts)]
    order = ["error", "warning", "note"]
    findings = sorted((finding for _, finding in found), key=lambda finding: order.index(finding.severity))
    return Report(findings, facts, {each.ends for each, _ in found})
