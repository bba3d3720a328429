"""How a one-shot command reaches Postgres, and what its failures mean for whoever typed it.

The address is DATABASE_URL (environment or .env), else the database of the stack that runs in the data directory.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import urlsplit

import typer

from notifiws.cli.errors import CliError, Failed, PostgresAway, SchemaMismatch, UsageError

if TYPE_CHECKING:
    import asyncpg

T = TypeVar("T")
DataDir = Annotated[
    Path, typer.Option("--data-dir", help="the running stack whose database to use when DATABASE_URL is not set")
]
DEFAULT_DATA_DIR = Path(".notifiws")
CONNECT_SECONDS = 10.0


def database_url(data_dir: Path = DEFAULT_DATA_DIR) -> str:
    """DATABASE_URL, else the running stack's database. Raises UsageError when there is neither."""
    from notifiws.stack.directory import DataDirectory
    from shared.settings import SettingsError, load

    try:
        settings = load()
    except SettingsError as error:
        raise UsageError(str(error), "correct the environment or .env") from error
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    directory = DataDirectory(data_dir)
    state = directory.running()
    if state is None or not state["database_url"]:
        raise UsageError(
            f"no database to work on: DATABASE_URL is not set, and no stack runs in {directory.path}",
            "set DATABASE_URL, or start a stack with `notifiws up`, or name its directory with --data-dir",
        )
    return str(state["database_url"])


def run(data_dir: Path, work: "Callable[[asyncpg.Connection[Any]], Awaitable[T]]", *, schema: bool = True) -> T:
    """Run `work` with a connection to the log's database; with `schema`, only if the schema fits this release.

    Raises the command line's errors for whatever goes wrong.
    """
    import asyncio

    url = database_url(data_dir)

    async def main() -> T:
        async with _connected(url) as connection:
            if schema:
                from db.migrate import check_schema

                await check_schema(connection)
            return await work(connection)

    return asyncio.run(main())


@asynccontextmanager
async def _connected(url: str) -> "AsyncIterator[asyncpg.Connection[Any]]":
    import asyncpg

    from db.migrate import MigrationBlocked, MigrationForbidden, SchemaError

    connection = await _connect(url)
    try:
        yield connection
    except SchemaError as error:
        raise SchemaMismatch(str(error), error.fix) from error
    except (MigrationBlocked, MigrationForbidden) as error:
        raise Failed(str(error), error.fix) from error
    except asyncpg.PostgresError as error:
        raise explain(error) from error
    except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise PostgresAway(f"the connection to Postgres at {_where(url)} was lost: {_say(error)}") from error
    finally:
        connection.terminate()


async def _connect(url: str) -> "asyncpg.Connection[Any]":
    import asyncpg

    try:
        return await asyncpg.connect(url, timeout=CONNECT_SECONDS, server_settings={"application_name": "notifiws"})
    except (ValueError, asyncpg.ClientConfigurationError):
        # Not in the driver's words: they may repeat a piece of the password.
        raise UsageError(
            "DATABASE_URL is no Postgres address, or has an option that there is not",
            "postgresql://user:password@host:5432/database",
        ) from None
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise PostgresAway(
            f"Postgres at {_where(url)} does not answer: {_say(error)}", "start it, or correct DATABASE_URL"
        ) from error


def explain(error: "asyncpg.PostgresError") -> CliError:
    """What the database refused, as the command's end: its words and its hint, a stable code, the exit code."""
    import asyncpg

    text = error.args[0] if error.args else str(error)
    hint: str | None = getattr(error, "hint", None) or _mend(error)
    if isinstance(error, asyncpg.FeatureNotSupportedError) and text.startswith("unsupported:"):
        return Failed(text, hint, code="unsupported")
    if isinstance(error, asyncpg.DataError):
        return UsageError(text, hint)
    gone = (asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError, asyncpg.InsufficientResourcesError)
    if isinstance(error, gone):
        return PostgresAway(f"Postgres gave up: {text}", hint)
    return Failed(text, hint)


def _mend(error: "asyncpg.PostgresError") -> str | None:
    """The mend of what Postgres itself refuses without a hint."""
    import asyncpg

    match error:
        case asyncpg.UndefinedTableError():
            return (
                "write the name as SQL does, with its schema: ventas.pedidos, '\"Ñ\"'; psql's \\dt *.* lists all tables"
            )
        case asyncpg.InvalidSchemaNameError():
            return "correct the schema's name; psql's \\dn lists them"
        case asyncpg.InsufficientPrivilegeError():
            return "connect as the role that ran `notifiws migrate`"
        case _:
            return None


def _say(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _where(url: str) -> str:
    """The address without its password."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2] or "localhost"
    return f"{host if re.search(r':[0-9]+$', host) else f'{host}:5432'}{parts.path}"
