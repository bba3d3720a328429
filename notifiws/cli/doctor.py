"""`notifiws doctor`: what is wrong, why, and the command that mends it."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from notifiws.cli.connect import DEFAULT_DATA_DIR, DataDir
from notifiws.cli.errors import UsageError

if TYPE_CHECKING:
    from notifiws.doctor.examine import Patient


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
    service: Annotated[
        list[str] | None,
        typer.Option("--service", help="also ask this listener or node (http://host:port; may be repeated)"),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Look at Postgres, the log, Redis, services and settings, and say what loses or leaks events. Writes nothing.

    Exit code 1 for an error, 0 for warnings; 4, 5 or 6 when Postgres, Redis or the schema is not there, after saying
    all that can be seen without it. docs/doctor.md lists every finding.
    """
    import asyncio

    from notifiws.doctor.examine import examine
    from notifiws.doctor.report import show

    report = asyncio.run(examine(_patient(data_dir, service or [])))
    if as_json:
        typer.echo(json.dumps(report.as_json(), ensure_ascii=False))
    else:
        show(report)
    raise typer.Exit(report.exit_code)


def _patient(data_dir: DataDir, services: list[str]) -> "Patient":
    """What the environment names, else the stack that runs in the data directory. Raises UsageError."""
    import os

    from notifiws.doctor.examine import Patient
    from notifiws.stack.directory import DataDirectory
    from shared.redis_url import check_redis_url
    from shared.settings import SettingsError, load

    try:
        settings = load()
        given = {
            name: secret.get_secret_value() if (secret := getattr(settings, name)) else None
            for name in ("database_url", "redis_url", "reader_database_url")
        }
        if given["redis_url"]:
            check_redis_url(given["redis_url"])
    except SettingsError as error:
        raise UsageError(str(error), "correct the environment or .env") from error
    for url in services:
        if not url.startswith("http://"):
            raise UsageError(f"--service {url}: not the address of a listener or node", "http://127.0.0.1:8001")
    directory = DataDirectory(data_dir)
    state = directory.running()
    # A stack that works on other servers than the environment names is somebody else's.
    if state and any(given[name] not in (None, state[name]) for name in ("database_url", "redis_url")):
        state = None
    database_url = given["database_url"] or (state["database_url"] if state else None)
    redis_url = given["redis_url"] or (state["redis_url"] if state else None)
    if not database_url and not redis_url and not services:
        raise UsageError(
            f"nothing to examine: DATABASE_URL is not set, and no stack runs in {directory.path}",
            "set DATABASE_URL, or start a stack with `notifiws up`, or name its directory with --data-dir",
        )
    return Patient(
        settings=settings,
        environ=os.environ,
        database_url=database_url or None,
        redis_url=redis_url or None,
        # As `up` gives it to its nodes.
        reader_url=given["reader_database_url"] or (state["database_url"] if state else None),
        namespace=state["namespace"] if state else settings.namespace,
        state=state,
        services=services,
    )
