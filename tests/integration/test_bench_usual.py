"""The benchmark's flow and its peer, on real servers: every row is measured, and what is lost is seen."""

from pathlib import Path

import pytest

from bench.flow import Clients, Flow, Pace, Source
from bench.peers.usual_stack import Usual, usual
from bench.stack import RunningStack
from bench.statements import statement
from notifiws.stack.valkey import ValkeyServer
from tests.conftest import Database


def flow_of(stack: RunningStack, peer: Usual) -> Flow:
    source = Source(stack.database_url, statement("usual_insert"), stack.redis_url)
    return Flow(source, stack.folder, "n" * 50, {"listener": [peer.listener_pid], "node": peer.node_pids})


@pytest.fixture
def beside(empty_database: Database, valkey: ValkeyServer, tmp_path: Path) -> RunningStack:
    return RunningStack(empty_database.url, valkey.url, (), 0, (), tmp_path)


async def test_the_usual_way_is_measured_idle_and_under_load(beside: RunningStack) -> None:
    async with usual(beside, nodes=2) as peer:
        flow = flow_of(beside, peer)
        one = [Clients(peer.nodes[0], 1, "/ws/sales", "sales", v1=False)]
        idle = await flow.run(one, Pace(10, pause=(0.001, 0.005)), "idle")
        many = [Clients(node, 3, "/ws/sales", "sales", v1=False) for node in peer.nodes]
        load = await flow.run(many, Pace(60, rate=200.0, connections=2), "load")
    assert idle["idle.expected"] == idle["idle.before_insert.count"] == idle["idle.after_commit.count"] == 10
    assert load["load.expected"] == load["load.before_insert.count"] == 6 * 60
    for figures, prefix in ((idle, "idle"), (load, "load")):
        assert all(figures[f"{prefix}.{name}"] == 0 for name in ("lost", "duplicated", "foreign", "gaps", "dropped"))
        assert 0 < figures[f"{prefix}.before_insert.min_ms"] <= figures[f"{prefix}.before_insert.p50_ms"]
        assert figures[f"{prefix}.after_commit.p50_ms"] < figures[f"{prefix}.before_insert.p50_ms"]
        assert set(figures) >= {f"{prefix}.cpu.{part}" for part in ("listener", "node", "client", "writer")}
        assert f"{prefix}.hop.tick_to_redis.count" not in figures, "there is no tap on a peer"
