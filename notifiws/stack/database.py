"""Readies the stack's database: schema `notifiws` up to date and, if wanted, the demo inventory."""

from pathlib import Path
from typing import Final

import asyncpg

from notifiws.stack import demo as inventory
from notifiws.stack.errors import StackError

_READER: Final = Path(__file__).with_name("reader.sql")


class DatabaseAway(StackError):
    """The database that `up` was told to use does not answer, or refuses us."""


async def prepare(url: str, *, demo: bool, reader_password: str | None = None) -> None:
    """Migrate, and create the demo's tables where they are missing. Raises DatabaseAway, and what `migrate` raises.

    With a password, the database is ours: the role that its nodes read the log as is made too.
    """
    from db.migrate import migrate

    try:
        connection = await asyncpg.connect(url, timeout=10)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise DatabaseAway(
            f"Postgres does not answer, or does not let us in: {str(error) or type(error).__name__}",
            "start it or correct DATABASE_URL; without DATABASE_URL, up brings its own",
        ) from error
    try:
        await migrate(connection)
        if reader_password is not None:
            for row in await connection.fetch(_READER.read_text(encoding="utf-8"), reader_password):
                await connection.execute(row["statement"])
        if demo:
            await inventory.create(connection)
    finally:
        await connection.close()
