"""migrate, watch, unwatch, watches, adopt, unadopt, emit from the command line: what they do, say, and end with."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import asyncpg
import pytest

from db import loader
from notifiws.stack.ports import free_port
from tests.conftest import Database

NOTIFIWS = Path(sys.executable).with_name("notifiws")


@dataclass
class Ended:
    code: int
    out: str
    err: str


async def run(
    *arguments: str,
    url: str | None = None,
    stdin: str = "",
    cwd: Path | None = None,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Ended:
    environ = {**os.environ, **settings, **({"DATABASE_URL": url} if url else {})}
    process = await asyncio.create_subprocess_exec(
        str(NOTIFIWS),
        *arguments,
        env=environ,
        cwd=cwd,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 60)
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


async def test_migrate_twice(empty_database: Database) -> None:
    url = empty_database.url
    missing = await run("watches", url=url)
    assert (missing.code, missing.out) == (6, "")
    assert missing.err == (
        f"error: schema notifiws is missing, this release needs version {loader.schema_version()}\n"
        "fix: run `notifiws migrate` as the database's owner\n"
    )
    first = await run("migrate", url=url)
    assert (first.code, first.err) == (0, "")
    assert "applied 0001_first_light\n" in first.out
    again = await run("migrate", url=url)
    assert (again.code, again.out) == (0, f"schema notifiws: version {loader.schema_version()}, nothing to do\n")


async def test_a_newer_schema_that_is_no_longer_compatible_is_6(database: Database) -> None:
    pg = await database.connect()
    await pg.execute("update notifiws.meta set schema_version = 1000")
    assert (await run("watches", url=database.url)).code == 0
    await pg.execute("update notifiws.meta set compatible_from = 999")
    for command in (["watches"], ["migrate"], ["emit", "a", "1"]):
        ended = await run(*command, url=database.url)
        assert ended.code == 6
        assert "version 1000" in ended.err
        assert "fix: upgrade notifiws" in ended.err


async def test_watch_and_unwatch(database: Database) -> None:
    url = database.url
    pg = await database.connect()
    await pg.execute('create table productos (id int primary key, nombre text, "a,b" int)')
    dry = await run("watch", "productos", "--channel", "stock", "--columns", 'nombre,"a,b"', "--dry-run", url=url)
    assert dry.code == 0
    assert await pg.fetchval("select count(*) from notifiws.watches") == 0
    await pg.execute(dry.out)
    assert await pg.fetchval("select columns from notifiws.watches") == ["nombre", "a,b"]
    done = await run("watch", "productos", "--channel", "stock", "--events", "insert, update", url=url)
    assert (done.code, done.out, done.err) == (0, "watching productos on channel stock\n", "")
    listed = await run("watches", "--json", url=url)
    (entry,) = json.loads(listed.out)
    del entry["created_at"]
    assert entry == {
        "channel": "stock", "table": "public.productos", "events": ["insert", "update"], "columns": None,
        "condition": None, "snapshot": True, "always": False, "in_force": True, "problem": None, "mode": "statement",
    }  # fmt: skip
    when = ["--when", 'new."a,b" > 1', "--always", "--no-snapshot", "--columns", "nombre"]
    dry = await run("watch", "productos", "--channel", "otro", *when, "--dry-run", url=url)
    assert (dry.code, dry.err) == (0, "")
    assert (await run("watch", "productos", "--channel", "stock", *when, url=url)).code == 0
    await pg.execute(dry.out)
    for row in await pg.fetch("select * from notifiws.watches"):
        assert (row["condition"], row["always"], row["snapshot"]) == ('new."a,b" > 1', True, False)
        assert (row["columns"], row["mode"]) == (["nombre"], "row")
    assert 'new."a,b" > 1 (always)' in (await run("watches", url=url)).out
    wrong = await run("watch", "productos", "--channel", "otro", "--when", "new.nada = 1", "--dry-run", url=url)
    assert wrong.code == 1
    assert "condition on public.productos for channel otro: column new.nada does not exist" in wrong.err
    assert 'columns of public.productos: id, nombre, "a,b"' in wrong.err
    assert (await run("unwatch", "productos", "--channel", "otro", url=url)).code == 0
    await pg.execute("alter table productos disable trigger user")
    assert "NO: triggers are disabled" in (await run("watches", url=url)).out
    assert (await run("unwatch", "productos", "--channel", "stock", url=url)).code == 0
    empty = await run("watches", url=url)
    assert (empty.code, empty.out) == (0, "")
    assert (await run("watches", "--json", url=url)).out == "[]\n"


async def test_a_dropped_table_can_be_unwatched(database: Database) -> None:
    pg = await database.connect()
    await pg.execute("create table t (id int primary key); select notifiws.watch('t', 'a'); drop table t")
    assert "the table is gone" in (await run("watches", url=database.url)).out
    assert (await run("unwatch", "t", "--channel", "a", url=database.url)).code == 0
    assert await pg.fetchval("select count(*) from notifiws.watch_entry") == 0


BAD_INPUT: list[tuple[list[str], int, str]] = [
    (["watch", "nada", "--channel", "a"], 1, 'relation "nada" does not exist\nfix: write the name as SQL does'),
    (["watch", "nada.t", "--channel", "a"], 1, 'schema "nada" does not exist\nfix: correct the schema'),
    (["watch", "t", "--channel", "Ventas"], 2, "'Ventas' is not a channel name\nfix: 1 to 128 characters"),
    (["watch", "t", "--channel", "a", "--events", "insert,upsert"], 2, "not a choice of insert"),
    (["watch", "t", "--channel", "a", "--columns", "nada"], 1, "table public.t has no column nada"),
    (
        ["watch", "t", "--channel", "a", "--when", "new.nada > 1"],
        1,
        "column new.nada does not exist\nfix: A condition is",
    ),
    (["watch", "v", "--channel", "a"], 1, "unsupported: public.v is a view"),
    (["watch", "v", "--channel", "a", "--dry-run"], 1, "unsupported: public.v is a view"),
    (["unwatch", "t", "--channel", "a"], 1, "not watched on channel 'a'\nfix: "),
    (["unwatch", "nada", "--channel", "a"], 1, "no dropped table nada"),
    (["adopt", "sales_channel", "--channel", "A"], 2, "'A' is not a channel name"),
    (["adopt", "", "--channel", "a"], 2, "NOTIFY channel"),
    (["unadopt", "sales_channel"], 1, "'sales_channel' is not adopted"),
    (["emit", "A", "{}"], 2, "'A' is not a channel name"),
    (["emit", "a", "{no"], 2, "the payload is not JSON"),
    (["emit", "a", '"\\u0000"'], 2, "the payload is not JSON that Postgres stores"),
    (["emit", "a", ""], 2, "the payload is not JSON"),
    (["watch", "t"], 2, "--channel"),
]


async def test_bad_input(database: Database) -> None:
    pg = await database.connect()
    await pg.execute("create table t (id int primary key); create view v as select 1")
    endings = await asyncio.gather(*(run(*arguments, url=database.url) for arguments, _, _ in BAD_INPUT))
    for ended, (arguments, code, text) in zip(endings, BAD_INPUT, strict=True):
        assert (ended.code, ended.out) == (code, ""), arguments
        assert text in ended.err, arguments
        assert "Traceback" not in ended.err
    assert await pg.fetchval("select count(*) from notifiws.outbox") == 0


async def test_adopt_and_emit(database: Database) -> None:
    pg = await database.connect()
    assert (await run("adopt", "sales_channel", "--channel", "sales", url=database.url)).code == 0
    assert await pg.fetch("select * from notifiws.adopted") == [("sales_channel", "sales")]
    assert (await run("unadopt", "sales_channel", url=database.url)).code == 0
    emitted = await run("emit", "alerts", '{"b":1.00, "a":"ñ"}', url=database.url)
    assert (emitted.code, emitted.err) == (0, "")
    assert (await run("emit", "alerts", "-", url=database.url, stdin="[1,\n2]")).code == 0
    rows = await pg.fetch("select channel, op, payload from notifiws.outbox order by id")
    assert rows == [("alerts", "emit", '{"a": "ñ", "b": 1.00}'), ("alerts", "emit", "[1, 2]")]


async def test_without_a_database_it_says_where_one_would_come_from(tmp_path: Path) -> None:
    ended = await run("watches", "--data-dir", str(tmp_path), cwd=tmp_path)
    assert ended.code == 2
    assert ended.err == (
        f"error: no database to work on: DATABASE_URL is not set, and no stack runs in {tmp_path}\n"
        "fix: set DATABASE_URL, or start a stack with `notifiws up`, or name its directory with --data-dir\n"
    )


async def test_dotenv_is_read(database: Database, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"DATABASE_URL={database.url}\n", encoding="utf-8")
    assert (await run("watches", cwd=tmp_path)).code == 0


async def test_postgres_away_is_4_and_passwords_are_not_said(database: Database) -> None:
    away = await run("migrate", url=f"postgresql://me:geheim@127.0.0.1:{free_port()}/db")
    assert away.code == 4
    assert "Postgres at 127.0.0.1:" in away.err
    assert "fix: start it, or correct DATABASE_URL" in away.err
    wrong = await run("emit", "a", "1", url=database.url.replace("postgresql://notifiws", "postgresql://nobody"))
    assert wrong.code == 4
    nowhere = await run("watches", url=database.url + "_no")
    assert nowhere.code == 4
    assert "does not exist" in nowhere.err
    strange = await run("watches", url="mysql://me:geheim@host/db")
    assert strange.code == 2
    for ended in (away, wrong, nowhere, strange):
        assert "geheim" not in ended.err
        assert "Traceback" not in ended.err


async def test_migrate_needs_no_superuser_and_says_what_it_needs(empty_database: Database) -> None:
    superuser = await empty_database.connect(superuser=True)
    await superuser.execute("create role nadie login password 'nadie'")
    try:
        url = f"postgresql://nadie:nadie@127.0.0.1:{empty_database.server.port}/{empty_database.name}"
        ended = await run("migrate", url=url)
        assert ended.code == 1
        assert "may not migrate" in ended.err
        assert "fix: connect as the database's owner, with CREATEROLE" in ended.err
        assert await superuser.fetchval("select to_regnamespace('notifiws') is null")
    finally:
        await superuser.execute("drop role nadie")
    with pytest.raises(asyncpg.UndefinedTableError):
        await superuser.execute("select * from notifiws.meta")


@pytest.mark.parametrize(
    "command", [["watches"], ["migrate"], ["listener"], ["ws"], ["healthcheck"], ["up"], ["demo-sales"]]
)
async def test_a_bad_address_ends_with_2_and_no_piece_of_its_password(tmp_path: Path, command: list[str]) -> None:
    for name in ("DATABASE_URL", "REDIS_URL"):
        (tmp_path / ".env").write_text(f"{name}={'postgresql' if name[0] == 'D' else 'redis'}://u:s3cr/x@h:1/0\n")
        ended = await run(*command, cwd=tmp_path)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith(f"error: {name}: allowed: ")
        assert "\nfix: " in ended.err
        assert "s3cr" not in ended.err


async def test_several_hosts_that_are_away_are_4(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()},127.0.0.1:{free_port()}"
    ended = await run("watches", url=f"postgresql://u:s3cr@{address}/d", cwd=tmp_path)
    assert ended.code == 4
    assert f"Postgres at {address}/d does not answer" in ended.err
    assert "s3cr" not in ended.err
