"""Gathers what Postgres can say: by catalogs first, and from schema notifiws only once it is known to be ours.

Every question has a transaction of its own, read-only and short, so that one that is refused spoils no other, and that
a transaction pooler, if there is one, keeps it on one server process. Nothing here raises: what is not to be had is
`unchecked` or `postgres_away`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from time import time
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import asyncpg

from db import loader
from db.migrate import SchemaError, SchemaForeign, SchemaMissing, check_schema, inspect_schema
from listener_service.session import FAILURES, PoolerFound, explain, refuse_pooler
from notifiws.doctor.adapters.secrets import scrub
from notifiws.doctor.facts import Log, Reader, Row, Schema, Server, Unchecked

CONNECT_SECONDS: Final = 10.0
QUERY_SECONDS: Final = 6.0
# Open transactions older than this are gathered; the checks judge them.
SESSION_SECONDS: Final = 60.0
T = TypeVar("T")


async def connect(url: str) -> "asyncpg.Connection[asyncpg.Record]":
    """A connection that works behind a transaction pooler too. Raises FAILURES."""
    return await asyncpg.connect(
        url,
        timeout=CONNECT_SECONDS,
        statement_cache_size=0,
        server_settings={"application_name": "notifiws doctor"},
    )


async def rows(connection: "asyncpg.Connection[asyncpg.Record]", query: str, *args: Any) -> list[Row]:
    """A named query in a transaction of its own. Raises FAILURES."""
    async with connection.transaction(readonly=True):
        await connection.execute(loader.query("doctor_session"))
        return [dict(row) for row in await connection.fetch(loader.query(query), *args, timeout=QUERY_SECONDS)]


class Gathering:
    """What is gathered through one connection, and what could not be."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection
        self.unchecked: list[Unchecked] = []

    async def rows(self, subject: str, query: str, *args: Any) -> list[Row] | None:
        """The answer to a named query; None, and a word in `unchecked`, when it is refused."""
        return await self.attempt(subject, lambda: rows(self._connection, query, *args))

    async def row(self, subject: str, query: str, *args: Any) -> Row | None:
        """Its first row."""
        found = await self.rows(subject, query, *args)
        return found[0] if found else None

    async def attempt(self, subject: str, work: Callable[[], Awaitable[T]]) -> T | None:
        """What `work` returns, unless Postgres refuses."""
        try:
            return await work()
        except FAILURES as error:
            self.unchecked.append(Unchecked(subject, _words(error)))
            return None


async def gather(url: str) -> dict[str, Any]:
    """Fields of Facts that Postgres can tell."""
    try:
        connection = await connect(url)
    except (*FAILURES, ValueError, asyncpg.ClientConfigurationError) as error:
        # Not in the driver's words where those are about the address: they may repeat a piece of the password.
        said = explain(error) if isinstance(error, FAILURES) else "DATABASE_URL is no Postgres address"
        return {"postgres_away": f"Postgres at {where(url)} does not answer: {scrub(said, url)}"}
    try:
        gathering = Gathering(connection)
        facts = await _server(gathering, connection, url)
        if facts.get("schema") is not None and facts["schema"].problem is None:
            facts |= await _log(gathering)
        facts["unchecked"] = [
            Unchecked(each.subject, scrub(each.why, url))
            for each in [*facts.get("unchecked", []), *gathering.unchecked]
        ]
        return facts
    finally:
        connection.terminate()


async def _server(gathering: Gathering, connection: "asyncpg.Connection[asyncpg.Record]", url: str) -> dict[str, Any]:
    facts: dict[str, Any] = {"pooler": await _pooler(gathering, url)}
    asked = time()
    about = await gathering.row("postgres", "doctor_server")
    answered = time()
    settings = await gathering.rows("postgres: settings", "doctor_settings")
    if about is not None:
        about = dict(about)
        about["skew"] = _skew(about.pop("at"), asked, answered)
        named = {row["name"]: row["setting"] for row in settings or ()}
        if not about["sees_sessions"]:
            mend = f"GRANT pg_read_all_stats TO {about['role']} shows them"
            gathering.unchecked.append(Unchecked("postgres: open transactions of other roles", mend))
        facts["server"] = Server(where=where(url), settings=named, **about)
    facts["role_settings"] = await gathering.rows("postgres: settings of roles", "doctor_role_settings")
    facts["sessions"] = await gathering.rows("postgres: open transactions", "doctor_sessions", SESSION_SECONDS)
    facts["prepared"] = await gathering.rows("postgres: prepared transactions", "doctor_prepared")
    facts["slots"] = await gathering.rows("postgres: replication slots", "doctor_slots")
    facts["locks"] = await _locks(gathering)
    facts["notifiers"] = await gathering.rows("postgres: triggers that notify", "doctor_notifiers")
    facts["schema"] = await _schema(gathering, connection)
    return facts


async def _locks(gathering: Gathering) -> list[Row] | None:
    """With `ours`: by the listener's own judgement where it has one, else by the session's name."""
    subject = "postgres: advisory locks"
    held, strangers = await gathering.rows(subject, "doctor_locks"), await gathering.rows(subject, "lock_strangers")
    if held is None:
        return None
    found = {(row["key"], row["pid"]) for row in strangers or ()}
    return [
        {**row, "ours": (row["key"], row["pid"]) not in found and (row["application"] or "").startswith("notifiws")}
        for row in held
    ]


async def _pooler(gathering: Gathering, url: str) -> str | None:
    try:
        await refuse_pooler(url)
    except PoolerFound as found:
        return scrub(str(found), url)
    except FAILURES as error:
        gathering.unchecked.append(Unchecked("postgres: pooler", _words(error)))
    return None


async def _schema(gathering: Gathering, connection: "asyncpg.Connection[asyncpg.Record]") -> Schema | None:
    owner = await gathering.row("schema", "doctor_owner")
    if owner is None:
        return None

    async def judge() -> Schema:
        async with connection.transaction(readonly=True):
            await connection.execute(loader.query("doctor_session"))
            try:
                await check_schema(connection)
                report = await inspect_schema(connection)
            except SchemaError as error:
                return Schema(str(error), _kind(error, owner["owner"]), error.fix, **owner)
            except asyncpg.InsufficientPrivilegeError as error:
                return Schema(_words(error), "not_owner", **owner)
            # A role that may read the log is not yet one that may cut it.
            problem = None if owner["is_owner"] else "another role's"
            return Schema(
                problem, problem and "not_owner", None, report.version, report.wanted, pending=report.pending, **owner
            )

    return await gathering.attempt("schema", judge)


def _kind(error: SchemaError, owner: str | None) -> str:
    if isinstance(error, SchemaMissing):
        return "old" if owner else "missing"
    return "foreign" if isinstance(error, SchemaForeign) else "too_new"


async def _log(gathering: Gathering) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for name, subject in (
        ("grants", "grants"),
        ("watches", "watches"),
        ("triggers", "watches: triggers"),
        ("tables", "watches: tables"),
        ("adopted", "adopted channels"),
        ("live_queries", "live queries"),
    ):
        facts[name] = await gathering.rows(subject, f"doctor_{name}")
    facts["emitter"] = await gathering.row("grants: notifiws_emitter", "doctor_emitter")
    state = await gathering.row("log", "doctor_log")
    lag = await gathering.row("log: lag", "log_lag")
    if state is not None:
        facts["log"] = Log(**{**state, "tick": state["tick"] or 0}, lag=lag["seconds"] if lag else 0.0)
    return facts


async def gather_reader(url: str, log_url: str | None) -> Reader:
    """Who the nodes' reader is, and whether it reads the same database."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS * 2):
            connection = await connect(url)
            try:
                (about,) = await rows(connection, "doctor_reader")
                system = await _system(log_url)
            finally:
                connection.terminate()
    except (*FAILURES, ValueError, asyncpg.ClientConfigurationError) as error:
        said = explain(error) if isinstance(error, FAILURES) else "it is no Postgres address"
        return Reader(away=f"{where(url)}: {scrub(said, url)}")
    return Reader(**about, same_database=system is None or system == about["system"])


async def _system(url: str | None) -> str | None:
    if url is None:
        return None
    try:
        connection = await connect(url)
        try:
            return next(iter((await rows(connection, "doctor_system"))[0].values()), None)
        finally:
            connection.terminate()
    except FAILURES:
        return None


def _skew(at: float, asked: float, answered: float) -> float:
    """How far a clock is ahead, 0 where its answer's way may explain it."""
    return at - answered if at > answered else at - asked if at < asked else 0.0


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__


def where(url: str) -> str:
    """An address without its user and password."""
    parts = urlsplit(url)
    return f"{parts.netloc.rpartition('@')[2] or 'localhost'}{parts.path}"
