"""Days of the log under a held snapshot, a transaction that stays open and a replication slot: nothing grows."""

import pytest

from tests.integration.db import day
from tests.integration.db.log import Log


@pytest.mark.parametrize("server", [18], indirect=True, ids=["pg18"])  # the one whose owner may make replication slots
async def test_three_days_take_no_more_than_one_and_a_cut_costs_the_same(log: Log) -> None:
    await day.hold(await log.session(), await log.session())
    try:
        found = await day.simulate(log.pg, rows=3_000, rows_per_tick=300, slots=3 * day.DAY + 2)
    finally:
        admin = await log.database.connect(superuser=True)
        await admin.execute("select pg_drop_replication_slot('held')")
    print(day.table(found))
    full = found[day.DAY + 1 : day.DAY + 4]
    for each in found[day.DAY + 4 :]:
        assert each.megabytes <= 1.05 * max(slot.megabytes for slot in full)
        assert each.cut_blocks <= 1.2 * max(slot.cut_blocks for slot in found[:3])
        assert each.dead_rows < 50, "a mass DELETE would leave 3,000 a slot"
        assert each.emptied >= 1
    assert max(each.megabytes for each in found) < 1.5 * found[day.DAY].megabytes
