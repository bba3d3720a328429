"""Replay: a channel's events, applied from empty, must be the table, byte for byte of row_to_json.

It knows nothing of how events are captured. A strict replica also holds each event to what came before it: no insert
of a row that is there, no update or delete of one that is not, `old` as the row was. Where a statement's own triggers
write its table (settled), only where the events end counts. Tables without a key are multisets of rows.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import asyncpg

# How values read, whatever the writer's session has set: the contract's words.
READ_AS_CAPTURED = """
set timezone = 'UTC'; set intervalstyle = postgres; set bytea_output = hex; set extra_float_digits = 1;
set datestyle = 'ISO, MDY'; set row_security = off;
"""
_decoder = json.JSONDecoder(parse_float=str, parse_int=str)


def members(text: str) -> dict[str, str]:
    """A row's names, and their values as they are written."""
    found: dict[str, str] = {}
    assert text[0] == "{"
    assert text[-1] == "}"
    at = 1
    while at < len(text) - 1:
        name, at = _decoder.raw_decode(text, at)
        assert text[at] == ":"
        _, end = _decoder.raw_decode(text, at + 1)
        assert name not in found, f"{name} twice in {text}"
        found[name] = text[at + 1 : end]
        assert text[end] in ",}"
        at = end + 1
    return found


def written(row: Mapping[str, str]) -> str:
    """The text of a row of members."""
    return "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{value}" for name, value in row.items()) + "}"


@dataclass
class Replica:
    """One table as its events say it is. Rows by key, or, without a key, how often each is there."""

    strict: bool = True
    rows: dict[str, str] = field(default_factory=dict)
    bag: Counter[str] = field(default_factory=Counter)

    def apply(self, op: str, key: str | None, new: str | None, old: str | None) -> None:
        """Apply one event."""
        assert (key is None) or op != "truncate"
        if op == "truncate":
            assert new is None
            assert old is None
            self.rows.clear()
            self.bag.clear()
            return
        before = self._before(op, key, new, old)
        if key is None:
            if before is not None:
                assert self.bag[before] > 0 or not self.strict, f"{op} of a row that is not there: {before}"
                self.bag[before] -= 1
            if new is not None:
                self.bag[new] += 1
            return
        if self.strict:
            there = self.rows.get(key)
            assert there == before, f"{op} of {key}: it was {there}, the event says {before}"
        if new is None:
            self.rows.pop(key, None)
        else:
            self.rows[key] = new

    def _before(self, op: str, key: str | None, new: str | None, old: str | None) -> str | None:
        """The row as it was before the event, by the event's own words; their form is checked on the way."""
        if op == "insert":
            assert old is None
            self._holds(new, key)
            return None
        assert old is not None
        if op == "delete":
            assert new is None
            self._holds(old, key)
            return old
        assert op == "update"
        assert new is not None
        self._holds(new, key)
        self._holds(old, key)
        now, then = members(new), members(old)
        assert then.keys() <= now.keys(), f"old has columns that new has not: {old} {new}"
        names = members(key) if key else {}
        unchanged = [name for name, value in then.items() if value == now[name] and name not in names]
        assert not unchanged, f"old holds what did not change: {unchanged} in {old}"
        return written(now | then)

    @staticmethod
    def _holds(row: str | None, key: str | None) -> None:
        assert row is not None
        if key is not None:
            assert members(key).items() <= members(row).items(), f"{key} is not the key of {row}"

    def reshape(
        self, *, add: dict[str, str] | None = None, drop: Iterable[str] = (), rename: dict[str, str] | None = None
    ) -> None:
        """What DDL did to the rows that are there: columns dropped, renamed, then added with these texts."""

        gone, renamed = set(drop), rename or {}

        def shaped(row: str) -> str:
            kept = {renamed.get(n, n): v for n, v in members(row).items() if n not in gone}
            return written(kept | (add or {}))

        self.rows = {key: shaped(row) for key, row in self.rows.items()}
        bag: Counter[str] = Counter()
        for row, count in self.bag.items():
            bag[shaped(row)] += count
        self.bag = bag

    def check(self, table: Iterable[str], name: str = "the table") -> None:
        """Assert that it equals the table's rows."""
        mine = Counter(self.rows.values())
        mine.update(self.bag)
        theirs = Counter(table)
        assert all(count >= 0 for count in mine.values()), f"{name}: rows were taken away that never were there"
        missing, extra = theirs - mine, mine - theirs
        assert not missing, (
            f"{name} has rows that its events do not give: {list(missing)[:3]}; they give {list(extra)[:3]}"
        )
        assert not extra, f"the events give rows that {name} has not: {list(extra)[:3]}"


class Replay:
    """Several tables, by the name that events call them (`source`), and the log's own order."""

    def __init__(self, *tables: str, settled: Iterable[str] = ()) -> None:
        self.replicas = {name: Replica(strict=name not in set(settled)) for name in tables}
        self.events: Counter[str] = Counter()
        self._last_tick = 0
        self._ticks_of_tx: dict[str, int] = {}

    def apply(self, rows: Iterable[asyncpg.Record], channel: str | None = None) -> None:
        """Apply what a cut found, or the part of it that is a channel's."""
        before = 0
        for row in rows:
            assert row["id"] > before, "events of a tick come by id"
            before = row["id"]
            assert row["tick"] >= self._last_tick
            self._last_tick = row["tick"]
            assert self._ticks_of_tx.setdefault(row["tx"], row["tick"]) == row["tick"], "a transaction is in two ticks"
            if channel is None or row["channel"] == channel:
                self.event(row)

    def event(self, row: asyncpg.Record) -> None:
        """Apply one event."""
        assert row["source"] in self.replicas, f"an event of {row['source']}, which is not looked at"
        self.replicas[row["source"]].apply(row["op"], row["key"], row["new"], row["old"])
        self.events[row["source"]] += 1

    async def check(self, pg: "asyncpg.Connection[Any]") -> None:
        """Assert that each replica is its table as this connection sees it."""
        for name, replica in self.replicas.items():
            replica.check(await rows_of(pg, name), name)


async def rows_of(pg: "asyncpg.Connection[Any]", table: str) -> list[str]:
    """A table's rows as events write them, on a connection that was told READ_AS_CAPTURED."""
    return [row[0] for row in await pg.fetch(f"select row_to_json(r.*)::text from {table} r")]
