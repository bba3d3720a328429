"""How long from a row's commit until a client has it: idle, and at 1,000 rows a second.

Set-up. `notifiws up --no-demo` with two nodes, its Postgres with fsync as it ships. Beside it, on the same Postgres
and the same Redis, the usual way (bench/peers/usual.py): pg_notify in a row trigger, LISTEN, PUBLISH, and two FastAPI
nodes under uvicorn that loop over their clients. Writer, clients and a listener on the Redis channel are processes of
their own; everything is on one machine, so one wall clock serves all. The contenders take turns, round after round.

Idle. One writer, one row at a time, a random pause of 20 to 60 ms in between, so that everything sleeps when a row
comes; one client on one of the two nodes. Counted from just before the INSERT is sent, and from when its commit has
returned (below zero where the client was faster than that). `payload` is the plain socket `/ws/{channel}`, `v1` the
subprotocol.

Load. Rows at a fixed rate, open loop, each its own commit, from four connections; the clients are spread over both
nodes, in one process a node. Every client must get every row exactly once: for ours a lost, repeated or foreign row, a
gap or a dropped connection makes the scenario fail; of the peer they are only reported. Every client's every row is
one sample. Counted also from when a row was due: a path whose triggers hold up the writers pays for it there.

Hops. Insert → trigger (the event's `at`) → commit returned → tick cut → Redis → node → client. A row may be cut before
its commit has returned to the writer, so that hop can be below zero. The tick's time is taken before it is durable, so
its fsync is in the next hop, with the publishing. When a node has a publication is known from another subscriber of
the same Redis channel, which has it at the same moment but for the order in which the kernel wakes the two.

What it does not say: a network's part. And on a machine of two cores, load generator and servers share them; the
clients' CPU is printed so that one can see whether they were in the way.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import redis.asyncio as redis

from bench.figures import Figures
from bench.flow import Clients, Flow, Pace, Source
from bench.peers.usual_stack import usual
from bench.scenario import Column, Contender, Field, Goal, Line, Options, Scenario, Table
from bench.stack import Address, RunningStack, stack
from bench.statements import statement
from shared.keys import Keys

CHANNEL = "bench-latency"
V1, PLAIN, USUAL = "notifiws v1", "notifiws payload", "the usual way"
NODES = 2
WRITERS = 4
PAUSE = (0.02, 0.06)
TEXT = "n" * 150  # the row as JSON is then about 180 bytes


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of it."""

    idle_rows: int = 500
    rate: float = 1_000.0
    seconds: float = 10.0
    clients: int = 100

    @classmethod
    def of(cls, options: Options) -> "Sizes":
        """Of a whole run, or of a smoke run."""
        return cls(idle_rows=25, rate=200.0, seconds=1.0, clients=10) if options.quick else cls()


@dataclass(slots=True)
class Delivery:
    """One contender: a flow, and how its clients connect. Without `loaded` only the idle part is run."""

    name: str
    flow: Flow
    nodes: tuple[Address, ...]
    path: str
    v1: bool
    sizes: Sizes
    loaded: bool = True

    async def round(self) -> Figures:
        """Idle, then under load."""
        one = [Clients(self.nodes[0], 1, self.path, CHANNEL, self.v1)]
        figures = await self.flow.run(one, Pace(self.sizes.idle_rows, pause=PAUSE), "idle")
        if self.loaded:
            share = self.sizes.clients // len(self.nodes)
            many = [Clients(node, share, self.path, CHANNEL, self.v1) for node in self.nodes]
            pace = Pace(int(self.sizes.rate * self.sizes.seconds), rate=self.sizes.rate, connections=WRITERS)
            figures |= await self.flow.run(many, pace, "load")
        return figures


@asynccontextmanager
async def _open(options: Options) -> AsyncIterator[Field]:
    sizes = Sizes.of(options)
    async with stack(nodes=NODES) as ours, usual(ours, nodes=NODES) as theirs:
        versions = await _prepare(ours)
        source = Source(ours.database_url, statement("latency_insert"), ours.redis_url, Keys("notifiws").live(CHANNEL))
        flow = Flow(source, ours.folder, TEXT, {"listener": [ours.listener_pid], "node": ours.node_pids})
        peer = Flow(
            Source(ours.database_url, statement("usual_insert"), ours.redis_url),
            ours.folder,
            TEXT,
            {"listener": [theirs.listener_pid], "node": theirs.node_pids},
        )
        contenders: list[Contender] = [
            Delivery(V1, flow, ours.nodes, "/ws", v1=True, sizes=sizes),
            Delivery(PLAIN, flow, ours.nodes, f"/ws/{CHANNEL}", v1=False, sizes=sizes, loaded=False),
            Delivery(USUAL, peer, theirs.nodes, "/ws/sales", v1=False, sizes=sizes),
        ]
        yield Field(
            contenders,
            versions,
            {
                "nodes": NODES,
                "idle_rows": sizes.idle_rows,
                "idle_pause_seconds": list(PAUSE),
                "rows_per_second": sizes.rate,
                "load_seconds": sizes.seconds,
                "clients": sizes.clients,
                "writers": WRITERS,
                "text_bytes": len(TEXT),
            },
        )


async def _prepare(ours: RunningStack) -> dict[str, str]:
    """Table and watch; return the servers' versions."""
    connection = await asyncpg.connect(ours.database_url)
    try:
        await connection.execute(statement("latency"))
        postgres = connection.get_settings().server_version
    finally:
        await connection.close()
    client = redis.Redis.from_url(ours.redis_url)
    try:
        server = await client.info("server")
    finally:
        await client.aclose()
    valkey = server.get("valkey_version") or server.get("redis_version", "?")
    return {"postgres": postgres.partition(" ")[0], "valkey": str(valkey)}


def _percentiles(title: str, prefix: str, names: tuple[str, ...]) -> Table:
    return Table(
        title,
        [Line(name, name, f"{prefix}.") for name in names],
        [Column(heading, f"{suffix}_ms") for heading, suffix in (("p50", "p50"), ("p99", "p99"), ("max", "max"))],
    )


_HOPS = {
    "insert → trigger": "insert_to_trigger",
    "trigger → commit returned": "trigger_to_commit",
    "commit returned → tick": "commit_to_tick",
    "tick → Redis → node": "tick_to_redis",
    "node → client": "redis_to_client",
}
_CHECKED = ("lost", "duplicated", "foreign", "gaps", "dropped")

SCENARIO = Scenario(
    name="latency",
    method=__doc__,
    open=_open,
    tables=[
        _percentiles("Idle, from just before the insert, ms", "idle.before_insert", (V1, PLAIN, USUAL)),
        _percentiles("Idle, from the commit's return, ms", "idle.after_commit", (V1, PLAIN, USUAL)),
        _percentiles("Under load, from just before the insert, ms", "load.before_insert", (V1, USUAL)),
        _percentiles("Under load, from the commit's return, ms", "load.after_commit", (V1, USUAL)),
        _percentiles("Under load, from when the row was due, ms", "load.since_due", (V1, USUAL)),
        *(
            Table(
                f"Hops of {V1}, {when}, ms",
                [Line(label, V1, f"{prefix}.hop.{hop}.") for label, hop in _HOPS.items()],
                [Column("p50", "p50_ms"), Column("p99", "p99_ms"), Column("max", "max_ms")],
            )
            for when, prefix in (("idle", "idle"), ("under load", "load"))
        ),
        Table(
            "Under load, deliveries",
            [Line(name, name, "load.") for name in (V1, USUAL)],
            [Column("expected", "expected", 0), *(Column(name, name, 0) for name in _CHECKED)],
        ),
        Table(
            "Under load, the busiest process of each kind in % of a core",
            [Line(name, name, "load.") for name in (V1, USUAL)],
            [
                Column("rows/s", "rows_per_second", 0),
                *(Column(part, f"cpu.{part}", 0) for part in ("writer", "listener", "node", "client")),
            ],
        ),
    ],
    goals=[
        Goal("idle, commit → client, p50 ≤ 3 ms", V1, "idle.after_commit.p50_ms", 3.0),
        Goal("idle, commit → client, p99 ≤ 10 ms", V1, "idle.after_commit.p99_ms", 10.0),
        Goal("idle, insert → client, p50 ≤ 3 ms", V1, "idle.before_insert.p50_ms", 3.0),
        Goal("idle, insert → client, p99 ≤ 10 ms", V1, "idle.before_insert.p99_ms", 10.0),
        Goal("under load, commit → client, p99 ≤ 50 ms", V1, "load.after_commit.p99_ms", 50.0),
    ],
    zero={
        V1: [f"{prefix}.{name}" for prefix in ("idle", "load") for name in _CHECKED],
        PLAIN: [f"idle.{name}" for name in _CHECKED],
    },
)
