"""Bring schema `notifiws` to this release, and refuse to run on one that does not fit.

Safe to run twice, side by side, and under writers: one migrate at a time (advisory lock), short lock waits and retry,
everything in one transaction. What reads and writes the log afterwards is the business of its callers.
"""

import asyncio
import random
from dataclasses import dataclass, field
from typing import Final

import asyncpg

from db import loader

# The oldest release's schema version that can still run on the schema that this release makes.
COMPATIBLE_FROM: Final = 1


class SchemaError(Exception):
    """The schema does not fit this release. `fix` is what mends it. Commands exit with 6."""

    fix: str


class SchemaMissing(SchemaError):
    """There is no schema `notifiws`, or one older than this release needs."""

    fix = "run `notifiws migrate` as the database's owner"


class SchemaForeign(SchemaError):
    """Somebody else owns the schema, or something in it: touching it could run that role's code as ours."""

    fix = (
        "connect as the role that owns it; if nobody you trust made it, look at what is in it, "
        "`drop schema notifiws cascade`, then run `notifiws migrate`"
    )


class SchemaTooNew(SchemaError):
    """A newer release migrated the schema and says that this one can no longer run on it."""

    fix = "upgrade notifiws to the release that migrated this database"


class MigrationBlocked(Exception):
    """Another transaction holds a lock that a migration needs, and did not end in time."""

    fix = "look for long transactions on schema notifiws in pg_stat_activity, then run `notifiws migrate` again"


class MigrationForbidden(Exception):
    """The connected role may not migrate."""

    fix = "connect as the database's owner, with CREATEROLE (no superuser needed)"


@dataclass(frozen=True, slots=True)
class MigrationResult:
    """What a migrate did. `applied` names the migrations, empty when only functions were made anew."""

    from_version: int
    to_version: int
    applied: tuple[str, ...] = field(default=())
    functions_changed: bool = False


async def _versions(conn: asyncpg.Connection) -> tuple[int, int]:
    """(schema_version, compatible_from), zeros without a schema. Raises SchemaForeign before it touches anything.

    In this order, a schema that somebody makes meanwhile is not read, and a migration's `create schema` fails on it.
    """
    there = await conn.fetchval(loader.query("schema_exists"))
    if stranger := await conn.fetchval(loader.query("strangers")):
        raise SchemaForeign(f"schema notifiws is not ours: {stranger}")
    if not there:
        return 0, 0
    row = await conn.fetchrow(loader.query("schema_versions"))
    return (row["schema_version"], row["compatible_from"]) if row else (0, 0)


async def check_schema(conn: asyncpg.Connection) -> None:
    """Raise SchemaMissing, SchemaForeign or SchemaTooNew unless this release can run on the database's schema.

    A merely newer schema is fine while its `compatible_from` allows this release.
    """
    version, compatible_from = await _versions(conn)
    wanted = loader.schema_version()
    if version < wanted:
        found = f"has version {version}" if version else "is missing"
        raise SchemaMissing(f"schema notifiws {found}, this release needs version {wanted}")
    if compatible_from > wanted:
        raise SchemaTooNew(
            f"schema notifiws has version {version}, which runs with releases of version {compatible_from} and up; "
            f"this one is {wanted}"
        )


async def migrate(conn: asyncpg.Connection, *, lock_timeout: float = 0.5, patience: float = 60.0) -> MigrationResult:
    """Apply what is missing and make functions and views anew. Idempotent.

    `lock_timeout` (seconds) bounds each wait for a lock, so that writers never queue behind a migration for longer; a
    wait that ran out is tried again until `patience` seconds are over, then MigrationBlocked. Raises SchemaForeign,
    SchemaTooNew, MigrationForbidden, and asyncpg's errors.
    """
    deadline = asyncio.get_running_loop().time() + patience
    while True:
        try:
            async with conn.transaction():
                await conn.execute(loader.query("migrate_settings"), f"{int(lock_timeout * 1000)}ms")
                return await _migrate(conn)
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
            if asyncio.get_running_loop().time() >= deadline:
                raise MigrationBlocked(f"a lock was not to be had within {patience:g} s: {error}") from error
        except asyncpg.InsufficientPrivilegeError as error:
            raise MigrationForbidden(f"the role may not migrate: {error}") from error
        await asyncio.sleep(random.uniform(0.05, 0.5))


async def _migrate(conn: asyncpg.Connection) -> MigrationResult:
    await conn.execute(loader.query("migrate_lock"))
    before, compatible_from = await _versions(conn)
    wanted = loader.schema_version()
    if compatible_from > wanted:
        raise SchemaTooNew(f"schema notifiws has version {before}, no longer compatible with this release")
    if before > wanted:  # newer and still compatible: its functions are newer too, leave them
        return MigrationResult(before, before)
    applied = []
    for step in loader.migrations():
        if step.number > before:
            await conn.execute(step.sql)
            applied.append(f"{step.number:04d}_{step.name}")
    if applied:
        await conn.execute(loader.query("record_version"), wanted, COMPATIBLE_FROM)
    changed = await conn.fetchval(loader.query("functions_digest")) != loader.functions_digest()
    if applied or changed:
        await conn.execute(loader.functions())
        await conn.execute(loader.query("record_functions_digest"), loader.functions_digest())
        await conn.fetchval(loader.query("regenerate_watches"))
    return MigrationResult(before, wanted, tuple(applied), bool(changed))
