"""What a cut reads: only the new events, by index, and never again those of transactions that are still open."""

import json
import re
from typing import Any

import pytest

from db import loader
from tests.integration.db.log import BIG, Log


async def explain(log: Log, query: str, *args: Any) -> dict[str, Any]:
    """The plan of a query as it ran, with the relay's settings."""
    await log.query("relay_settings")
    text = await log.pg.fetchval(f"explain (analyze, buffers, format json) {query}", *args)
    plan: dict[str, Any] = json.loads(text)[0]["Plan"]
    return plan


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", []) for node in nodes(child))]


def outbox_scans(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [node for node in nodes(plan) if re.fullmatch(r"outbox_\d", node.get("Relation Name", ""))]


def rows_read(plan: dict[str, Any]) -> int:
    """Rows that scans of the log looked at, filtered ones too."""
    return round(
        sum((n["Actual Rows"] + n.get("Rows Removed by Filter", 0)) * n["Actual Loops"] for n in outbox_scans(plan))
    )


async def snapshots(log: Log) -> tuple[str, str]:
    s1 = (await log.query("last_tick"))[0]["snapshot"]
    return s1, await log.pg.fetchval("select pg_current_snapshot()::text")


@pytest.mark.parametrize("query", ["tick_rows_narrow", "tick_rows_wide", "tick_rows_of_channel"])
async def test_a_tick_is_read_by_index_and_alone(log: Log, query: str) -> None:
    emit = "select notifiws.emit('a', to_jsonb(n)) from generate_series(1, 5000) n"
    old = await log.session()
    await old.execute("begin; select notifiws.emit('old', '1')")
    await log.pg.execute(emit)
    await log.cut()
    # After the tick: a transaction that stays open, one of before that ends, a few events, one more that stays open.
    running = await log.session()
    await running.execute(f"begin; {emit}")
    await log.pg.execute("select notifiws.emit('a', to_jsonb(n)) from generate_series(1, 7) n")
    await old.execute("commit")
    await log.pg.execute("select notifiws.emit('a', '8')")
    more = {"tick_rows_narrow": (), "tick_rows_wide": (BIG,), "tick_rows_of_channel": ("a", 100)}[query]
    plan = await explain(log, loader.query(query), *await snapshots(log), 0, *more)
    scans = outbox_scans(plan)
    assert {node["Node Type"] for node in scans} <= {"Index Scan", "Index Only Scan"}, [n["Node Type"] for n in scans]
    assert all("tx" in node["Index Cond"] for node in scans)
    assert rows_read(plan) <= 10  # nine, but for EXPLAIN's averages over loops
    buffers = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    # 8 partitions × 4 ranges of a two-level index, and a few pages of rows; 5,000 rows would be 60 pages and more
    assert buffers < 150


async def test_ranges_are_what_is_visible_in_s2_and_not_in_s1(log: Log) -> None:
    async def ranges(s1: str, s2: str) -> list[tuple[int, int]]:
        rows = await log.pg.fetch(
            "select lo::text, hi::text from notifiws.tx_ranges($1::text::pg_snapshot, $2::text::pg_snapshot)", s1, s2
        )
        return sorted((int(row[0]), int(row[1])) for row in rows)

    assert await ranges("10:10:", "10:10:") == []
    assert await ranges("10:10:", "15:15:") == [(10, 15)]
    assert await ranges("10:12:10,11", "11:20:11,14,15") == [(10, 11), (12, 14), (16, 20)]
    assert await ranges("10:12:10,11", "12:12:") == [(10, 11), (11, 12)]
    assert await ranges("10:12:10", "10:13:10,12") == []
    for s1, s2 in (("5:30:7,9,20,29", "9:44:9,20,31,32,43"), ("3:9:3,4,8", "4:9:4"), ("1:4:", "2:50:3,17")):
        visible = await log.pg.fetch(
            """select n from generate_series(1, 60) n
            where pg_visible_in_snapshot(n::text::xid8, $2::text::pg_snapshot)
              and not pg_visible_in_snapshot(n::text::xid8, $1::text::pg_snapshot)""",
            s1,
            s2,
        )
        found = [n for lo, hi in await ranges(s1, s2) for n in range(lo, hi)]
        if s2 != "2:50:3,17":  # no snapshot sees running again what an earlier one saw ended
            assert found == [row[0] for row in visible]


async def test_the_lag_is_the_age_of_what_waits(log: Log) -> None:
    assert (await log.query("log_lag"))[0]["seconds"] == 0
    await log.pg.execute("select notifiws.emit('a', '1'), pg_sleep(0.05)")
    assert (await log.query("log_lag"))[0]["seconds"] >= 0.05
    await log.cut()
    assert dict((await log.query("log_lag"))[0]) == {"tick": 1, "seconds": 0}
