"""`notifiws migrate`, `migrate --check`, and what every command says of a schema that does not fit."""

import asyncio
import json
from urllib.parse import urlsplit, urlunsplit

from db import loader
from notifiws.stack.ports import free_port
from tests.conftest import Database
from tests.contract.test_cli_database import run
from tests.integration.db.released import Release

WANTED = loader.schema_version()
FIX = "fix: run `notifiws migrate` as the database's owner\n"


async def test_check_says_what_a_migrate_would_do_and_changes_nothing(empty_database: Database) -> None:
    url = empty_database.url
    pg = await empty_database.connect()
    missing, as_json = await asyncio.gather(
        run("migrate", "--check", url=url), run("migrate", "--check", "--json", url=url)
    )
    said = f"error: schema notifiws is missing, this release needs version {WANTED}\n{FIX}"
    assert (missing.code, missing.out, missing.err) == (6, "", said)
    assert (as_json.code, as_json.err) == (6, said)
    pending = [*(step.title for step in loader.migrations()), "functions"]
    assert json.loads(as_json.out) == {"state": "missing", "version": 0, "wanted": WANTED, "pending": pending}
    assert await pg.fetchval("select to_regnamespace('notifiws') is null")

    done = await run("migrate", "--json", url=url)
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == {
        "from_version": 0, "version": WANTED, "applied": pending[:-1], "functions_changed": True, "problems": [],
    }  # fmt: skip
    current = await run("migrate", "--check", url=url)
    assert (current.code, current.out, current.err) == (0, f"schema notifiws: version {WANTED}, nothing to do\n", "")

    await pg.execute("update notifiws.meta set functions_digest = 'another'")
    other = await run("migrate", "--check", url=url)
    assert other.code == 6
    assert f"has version {WANTED}, and not yet this release's functions and capture functions\n{FIX}" in other.err
    assert "functions renewed" in (await run("migrate", url=url)).out


async def test_check_of_newer_schemas(database: Database) -> None:
    pg = await database.connect()
    await pg.execute("update notifiws.meta set schema_version = 1000")
    newer = await run("migrate", "--check", url=database.url)
    assert (newer.code, newer.err) == (0, "")
    assert newer.out == f"schema notifiws: version 1000, newer than this release's {WANTED} and compatible with it\n"
    await pg.execute("update notifiws.meta set compatible_from = 999")
    too_new = await run("migrate", "--check", "--json", url=database.url)
    assert too_new.code == 6
    assert json.loads(too_new.out)["state"] == "too_new"
    assert "fix: upgrade notifiws" in too_new.err


async def test_an_old_schema_is_6_for_all_that_need_it_until_it_is_migrated(empty_database: Database) -> None:
    pg = await empty_database.connect()
    await Release(1).install(pg)
    await pg.execute("create table t (id int primary key); select notifiws.watch('t', 'a')")
    commands = (
        ["watch", "t", "--channel", "b", "--dry-run"], ["unwatch", "t", "--channel", "a"], ["watches", "--json"],
        ["adopt", "x", "--channel", "a"], ["unadopt", "x"], ["emit", "a", "1"],
    )  # fmt: skip
    for ended in await asyncio.gather(*(run(*command, url=empty_database.url) for command in commands)):
        assert (ended.code, ended.out) == (6, "")
        assert ended.err == f"error: schema notifiws has version 1, this release needs version {WANTED}\n{FIX}"
    check = await run("migrate", "--check", "--json", url=empty_database.url)
    assert (check.code, json.loads(check.out)["state"]) == (6, "behind")
    assert json.loads(check.out)["pending"] == [loader.migrations()[1].title, "functions", "captures"]
    settings = {"REDIS_URL": f"redis://127.0.0.1:{free_port()}", "NOTIFIWS_LISTENER_PORT": str(free_port())}
    ended = await run("listener", url=empty_database.url, settings=settings)
    assert ended.code == 6
    assert "notifiws migrate" in ended.err
    done = await run("migrate", url=empty_database.url)
    assert done.out == f"applied 0002_every_table\nschema notifiws: version 1 → {WANTED}\n"
    assert json.loads((await run("watches", "--json", url=empty_database.url)).out)[0]["in_force"]


async def test_emit_has_a_limit_and_its_role(database: Database) -> None:
    pg = await database.connect()
    superuser = await database.connect(superuser=True)
    await pg.execute("update notifiws.meta set emit_bytes = 10")
    await superuser.execute("create role app login password 'app'; create role nobody_else login password 'app'")
    try:
        await pg.execute("grant notifiws_emitter to app")
        parts = urlsplit(database.url)
        app, other = (
            urlunsplit(parts._replace(netloc=f"{role}:app@{parts.hostname}:{parts.port}"))
            for role in ("app", "nobody_else")
        )
        small, large, refused = await asyncio.gather(
            run("emit", "a", '"12345678"', url=app),
            run("emit", "a", '"123456789"', url=app),
            run("emit", "a", "1", url=other),
        )
        assert (small.code, small.err) == (0, "")
        assert (large.code, large.out) == (2, "")
        assert "the payload for channel a has 11 bytes, and emit takes 10 at most\nfix: emit a key" in large.err
        assert "NOTIFIWS_EMIT_BYTES" in large.err
        assert refused.code == 1
        assert "GRANT notifiws_emitter" in refused.err
        assert await pg.fetchval("select array_agg(payload) from notifiws.outbox") == ['"12345678"']
    finally:
        await superuser.execute("drop role app, nobody_else")


async def test_adopting_onto_a_watched_channel_is_warned_of(database: Database) -> None:
    pg = await database.connect()
    await pg.execute("create table ventas (id int primary key); select notifiws.watch('ventas', 'sales')")
    ended = await run("adopt", "sales_channel", "--channel", "sales", url=database.url)
    assert (ended.code, ended.out) == (0, "relaying NOTIFY channel sales_channel on channel sales\n")
    assert ended.err == (
        "warning: channel 'sales' also carries the changes of public.ventas: "
        "what these NOTIFYs tell of them comes twice\n"
        "fix: adopt under another channel, or unadopt again once clients read the watch\n"
    )
