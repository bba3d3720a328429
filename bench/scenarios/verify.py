"""How long faults are felt, that nothing is lost meanwhile, and that it would be seen if something were.

Asked: while writers write and clients come and go, every kind of fault in turn: is anything lost, repeated, turned
around or made up, and how long until clients hear news again? And would `notifiws verify` see it: are mutants of the
product, each of which breaks one promise, all caught?

Each round is a run of `notifiws verify` with another seed, 120 s with all its faults, on a stack of its own; a recovery
is the time from the beginning of a fault until a steady client heard an event whose commit began after it. A fault that
is held cannot be over, for those whom it cuts off, before it is undone. The mutants are shared out over the rounds;
each has to be caught within a minute.

The long run is a command of its own: `notifiws verify --seconds 3600 --report bench/results/verify`.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.figures import Figures
from bench.scenario import BenchError, Column, Field, Goal, Line, Options, Scenario, Table
from notifiws.stack.process import die_with_parent

_ROOT = Path(__file__).resolve().parents[2]
PRODUCT, MUTANTS = "notifiws", "mutants"
_FELT = (
    "kill listener", "restart listener", "freeze listener", "half-open listener-postgres", "terminate listener",
    "kill node", "freeze node", "kill valkey", "flush valkey", "pubsub valkey", "kill postgres", "restart postgres",
)  # fmt: skip


@dataclass(slots=True)
class Product:
    """Ours: a run a round."""

    seconds: int
    seed: int = 0
    name: str = PRODUCT

    async def round(self) -> Figures:
        """One run."""
        self.seed += 1
        words = ("-P", "-m", "notifiws.cli.app", "verify", "--json", "--seconds", str(self.seconds))
        result = await _said(*words, "--seed", str(self.seed))
        seen = result["seen"]
        figures = {
            "violations": float(sum(result["violations"].values()) + len(result["troubles"])),
            "told": float(sum(result["told"].values())),
            "changes": float(seen.get("changes", 0)),
            "deliveries": float(seen.get("deliveries", 0)),
            "faults": float(len(result["faults"])),
        }
        for row in result["recoveries"]:
            if row["max"] is not None:
                prefix = f"{row['kind']} {row['target']}"
                figures |= {f"{prefix}.p50_s": row["p50"], f"{prefix}.max_s": row["max"]}
        return figures


@dataclass(slots=True)
class Mutants:
    """Their share of a round; all of them over the rounds."""

    rounds: int
    seconds: int
    number: int = 0
    name: str = MUTANTS

    async def round(self) -> Figures:
        """Run some, count those that get away."""
        words = ("-m", "tests.mutants", "--json", "--seconds", str(self.seconds))
        result = await _said(*words, "--share", f"{self.number}/{self.rounds}")
        self.number += 1
        return {
            "tried": float(len(result)),
            "caught": float(sum(bool(each["violations"]) for each in result)),
            "away": float(sum(not each["violations"] for each in result)),
        }


async def _said(*words: str) -> Any:
    """The JSON that such a command prints. It dies with us."""
    parent = os.getpid()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *words,
        cwd=_ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        process_group=0,
        preexec_fn=lambda: die_with_parent(signal.SIGTERM, parent),
    )
    try:
        said, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    try:
        return json.loads(said)
    except ValueError:
        raise BenchError(f"{' '.join(words)} ended with {process.returncode}: {errors.decode()[-2000:]}") from None


@asynccontextmanager
async def _open(options: Options) -> AsyncIterator[Field]:
    seconds = 5 if options.quick else 120
    mutants = Mutants(8 if options.quick else options.rounds, 5 if options.quick else 60)
    yield Field([Product(seconds), mutants], {}, {"seconds": seconds, "mutant_seconds": mutants.seconds})


SCENARIO = Scenario(
    name="verify",
    method=__doc__,
    open=_open,
    tables=[
        Table(
            "Faults and what they did",
            [Line(PRODUCT, PRODUCT, "")],
            [Column(name, name, 0) for name in ("changes", "deliveries", "faults", "violations", "told")],
        ),
        Table(
            "From a fault's beginning until clients heard news, s",
            [Line(fault, PRODUCT, f"{fault}.") for fault in _FELT],
            [Column("p50", "p50_s"), Column("max", "max_s")],
        ),
        Table(
            "Mutants a round",
            [Line(MUTANTS, MUTANTS, "")],
            [Column(name, name, 0) for name in ("tried", "caught", "away")],
        ),
    ],
    goals=[
        Goal("leader killed: news within 3 s", PRODUCT, "kill listener.max_s", 3.0),
        Goal("leader frozen: news within 10 s", PRODUCT, "freeze listener.max_s", 10.0),
        Goal("leader half-open to Postgres: news within 10 s", PRODUCT, "half-open listener-postgres.max_s", 10.0),
        Goal("leader stopped: news within 200 ms", PRODUCT, "restart listener.p50_s", 0.2),
        Goal("node killed: its clients live elsewhere within 2 s", PRODUCT, "kill node.max_s", 2.0),
    ],
    zero={PRODUCT: ["violations"], MUTANTS: ["away"]},
)
