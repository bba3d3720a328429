"""The log as the tests look at it: cut it, read a tick again, replay a channel into a table."""

import json
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from db import loader
from tests.conftest import Database

BIG = 10**9


class Log:
    """The owner's connection to a database, with the named queries."""

    def __init__(self, database: Database, pg: "asyncpg.Connection[Any]") -> None:
        self.database = database
        self.pg = pg

    async def query(self, name: str, *args: Any) -> list[asyncpg.Record]:
        """Run a named query."""
        return await self.pg.fetch(loader.query(name), *args)

    async def value(self, name: str, *args: Any) -> Any:
        """The first column of a named query's first row."""
        return await self.pg.fetchval(loader.query(name), *args)

    async def cut(self) -> list[asyncpg.Record]:
        """One cut's rows, however many."""
        return await self.query("cut", BIG, BIG)

    async def events(self) -> list[dict[str, Any]]:
        """All events that one cut finds, as clients would read them."""
        return [event(row) for row in await self.cut()]

    async def session(self, role: str | None = None, **options: Any) -> "asyncpg.Connection[Any]":
        """Another connection: the owner's, or that of the role `writer`, who has no grant on schema notifiws."""
        if role is None:
            return await self.database.connect(**options)
        parts = urlsplit(self.database.url)
        url = urlunsplit(parts._replace(netloc=f"{role}:{role}@{parts.hostname}:{parts.port}"))
        connection = await asyncpg.connect(url, **options)
        self.database.connections.append(connection)
        return connection


def event(row: asyncpg.Record) -> dict[str, Any]:
    """The parts of an event that tests compare; JSON decoded, absent ones left out."""
    texts = {name: row[name] for name in ("key", "new", "old", "payload")}
    parsed = {name: json.loads(text) for name, text in texts.items() if text is not None}
    return {"op": row["op"], "channel": row["channel"], **parsed}


class Replica:
    """A table as the events of its channel say it is: rows by key, as JSON texts of row_to_json."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}

    def apply(self, row: asyncpg.Record) -> None:
        """Apply one event, and fail where it does not fit what came before it."""
        match row["op"]:
            case "insert":
                assert row["key"] not in self.rows, f"insert of a key that is there: {row['key']}"
                self.rows[row["key"]] = row["new"]
            case "update":
                assert row["key"] in self.rows, f"update of a key that is not there: {row['key']}"
                before = json.loads(self.rows[row["key"]])
                for name, value in json.loads(row["old"]).items():
                    assert before[name] == value, f"old.{name} of {row['key']} is {value}, was {before[name]}"
                self.rows[row["key"]] = row["new"]
            case "delete":
                assert row["key"] in self.rows, f"delete of a key that is not there: {row['key']}"
                assert self.rows.pop(row["key"]) == row["old"]
            case "truncate":
                self.rows.clear()

    async def check(self, log: Log, table: str) -> None:
        """Assert that the replica equals the table, byte for byte of row_to_json."""
        await log.pg.execute("set timezone = 'UTC'")
        rows = await log.pg.fetch(f"select row_to_json(t)::text from {table} t")
        assert sorted(self.rows.values()) == sorted(row[0] for row in rows)
