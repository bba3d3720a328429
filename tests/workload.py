"""Writers whose every committed change is known, and the check that a client saw exactly those, each row's in order."""

import random
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from tests.client import Client

DDL = """
create table {table} (id bigint primary key, v int not null default 0, nota text);
select notifiws.watch('{table}', '{channel}');
"""


@dataclass
class Ledger:
    """What was committed: the number of updates by row id."""

    updates: dict[int, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many events there must be: one insert a row, and its updates."""
        return sum(1 + n for n in self.updates.values())

    def check(self, client: Client, name: str = "client") -> None:
        """Assert that `client` saw each committed change once, per row in order, and nothing else."""
        assert not client.faults, f"{name}: {client.faults[:3]}"
        assert not client.resets, f"{name} was told to fetch afresh: {client.resets[:3]}"
        seen: dict[int, int] = {}
        for event in client.events:
            row, version = event["new"]["id"], event["new"]["v"]
            assert version == seen.get(row, -1) + 1, f"{name}: row {row} went from version {seen.get(row)} to {version}"
            seen[row] = version
        missing = {row: n for row, n in self.updates.items() if seen.get(row) != n}
        foreign = seen.keys() - self.updates.keys()
        assert not missing, f"{name}: {len(missing)} rows not seen to their end, such as {sorted(missing)[:5]}"
        assert not foreign, f"{name}: rows that were never committed: {sorted(foreign)[:5]}"


async def write(
    connection: "asyncpg.Connection[Any]", table: str, ledger: Ledger, first_id: int, transactions: int, seed: int
) -> None:
    """Transactions of one insert and up to three updates of it; some savepoints and transactions are rolled back."""
    chance = random.Random(seed)
    for row in range(first_id, first_id + transactions):
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(f"insert into {table} (id, nota) values ($1, 'ñandú \"€\"')", row)
        updates = chance.randrange(4)
        for _ in range(updates):
            if chance.random() < 0.3:
                savepoint = connection.transaction()
                await savepoint.start()
                await connection.execute(f"update {table} set v = v + 100 where id = $1", row)
                await savepoint.rollback()
            await connection.execute(f"update {table} set v = v + 1 where id = $1", row)
        if chance.random() < 0.2:
            await transaction.rollback()
        else:
            await transaction.commit()
            ledger.updates[row] = updates
