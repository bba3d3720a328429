"""migrate: the same tables as schema.sql, twice a no-op, one at a time, short waits, and who may read what."""

import asyncio
from typing import Any

import asyncpg
import pytest

from db import loader
from db.migrate import (
    MigrationBlocked,
    SchemaForeign,
    SchemaMissing,
    SchemaTooNew,
    check_schema,
    migrate,
)
from tests.conftest import Database
from tests.integration.db.log import Log

CATALOG = {
    "columns": """select table_name, column_name, ordinal_position, data_type, is_nullable, column_default
        from information_schema.columns where table_schema = 'notifiws' order by 1, 3""",
    "indexes": "select indexname, indexdef from pg_indexes where schemaname = 'notifiws' order by 1",
    "constraints": """select conname, conrelid::regclass::text, pg_get_constraintdef(oid) from pg_constraint
        where connamespace = 'notifiws'::regnamespace and contype <> 'n' order by 1, 2""",
    "options": """select relname, relkind, reloptions, pg_get_expr(relpartbound, oid) from pg_class
        where relnamespace = 'notifiws'::regnamespace and relkind in ('r', 'p', 'S') order by 1""",
}


async def catalog(pg: "asyncpg.Connection[Any]") -> dict[str, list[tuple[Any, ...]]]:
    return {name: [tuple(row) for row in await pg.fetch(query)] for name, query in CATALOG.items()}


async def test_migrations_make_what_schema_sql_says(blank: Database) -> None:
    pg = await blank.connect()
    await pg.execute(loader.schema())
    wanted = await catalog(pg)
    await pg.execute("drop schema notifiws cascade")
    for step in loader.migrations():
        await pg.execute(step.sql)
    assert await catalog(pg) == wanted


async def test_migrate_is_idempotent_and_says_what_it_did(blank: Database) -> None:
    pg = await blank.connect()
    with pytest.raises(SchemaMissing, match="is missing"):
        await check_schema(pg)
    first = await migrate(pg)
    assert (first.from_version, first.to_version) == (0, loader.schema_version())
    assert first.applied[0] == "0001_first_light"
    await check_schema(pg)
    before = await pg.fetch("select oid, xmin from pg_proc where pronamespace = 'notifiws'::regnamespace order by oid")
    again = await migrate(pg)
    assert (again.applied, again.functions_changed) == ((), False)
    after = await pg.fetch("select oid, xmin from pg_proc where pronamespace = 'notifiws'::regnamespace order by oid")
    assert before == after
    epoch = await pg.fetchval("select epoch from notifiws.meta")
    assert len(epoch) == 8
    assert epoch.isalnum()


async def test_many_at_once(blank: Database) -> None:
    results = await asyncio.gather(*[migrate(await blank.connect(), lock_timeout=0.05) for _ in range(5)])
    assert sorted(len(result.applied) for result in results) == [0, 0, 0, 0, len(loader.migrations())]


async def test_renewed_functions_and_captures(log: Log) -> None:
    """A release with other functions: they are applied, generated ones are made anew, watches stay in force."""
    await log.pg.execute("create table t (id int primary key); select notifiws.watch('t', 'a')")
    await log.pg.execute("update notifiws.meta set functions_digest = 'another release'")
    await log.pg.execute("create or replace function notifiws.capture_1_insert() returns trigger language plpgsql as "
                         "$$ begin return null; end $$")  # fmt: skip
    result = await migrate(log.pg)
    assert (result.applied, result.functions_changed) == ((), True)
    await log.pg.execute("insert into t values (1)")
    assert len(await log.cut()) == 1
    assert [dict(row)["in_force"] for row in await log.query("watches")] == [True]


async def test_newer_schemas(log: Log) -> None:
    await log.pg.execute("update notifiws.meta set schema_version = 99, functions_digest = 'newer'")
    await check_schema(log.pg)
    result = await migrate(log.pg)
    assert (result.from_version, result.to_version, result.functions_changed) == (99, 99, False)
    await log.pg.execute("update notifiws.meta set compatible_from = 98")
    for call in (check_schema, migrate):
        with pytest.raises(SchemaTooNew, match="99"):
            await call(log.pg)
    await log.pg.execute("update notifiws.meta set schema_version = 0")
    with pytest.raises(SchemaMissing, match=r"has version 0|is missing"):
        await check_schema(log.pg)


async def test_a_lock_that_never_comes_is_said(log: Log) -> None:
    holder = await log.session()
    await holder.execute("begin; select pg_advisory_lock(1852797033, 3)")
    with pytest.raises(MigrationBlocked):
        await migrate(log.pg, lock_timeout=0.05, patience=0.3)


async def test_the_migrating_role_is_no_superuser_and_the_role_may_exist(log: Log) -> None:
    assert not await log.pg.fetchval("select rolsuper from pg_roles where rolname = current_user")
    assert await log.pg.fetchval("select count(*) from pg_roles where rolname = 'notifiws_emitter'") == 1


async def test_others_may_do_nothing_but_emit_with_its_role(log: Log) -> None:
    granted = await log.pg.fetch(
        """select p.oid::regprocedure::text, r.rolname from pg_proc p
        cross join (select oid, rolname from pg_roles where rolname in ('writer', 'notifiws_emitter')) r
        where p.pronamespace = 'notifiws'::regnamespace and has_function_privilege(r.oid, p.oid, 'execute')"""
    )
    assert [tuple(row) for row in granted] == [("notifiws.emit(text,jsonb)", "notifiws_emitter")]
    tables = await log.pg.fetch(
        """select c.relname from pg_class c
        cross join (select oid from pg_roles where rolname in ('writer', 'notifiws_emitter')) r
        where c.relnamespace = 'notifiws'::regnamespace and c.relkind in ('r', 'p', 'v')
          and has_table_privilege(r.oid, c.oid, 'select, insert, update, delete, truncate')"""
    )
    assert tables == []


TRAP = """
    create function public.trap() returns trigger language plpgsql as
        $$ begin execute 'create table public.trapped ()'; return new; end $$;
    create trigger trap before update on notifiws.meta for each row execute function public.trap();
    update notifiws.meta set functions_digest = 'another'; drop table public.trapped;
"""


@pytest.mark.parametrize("superuser", [False, True])
async def test_a_schema_that_another_role_made_is_not_touched(blank: Database, superuser: bool) -> None:
    admin = await blank.connect(superuser=True)
    await admin.execute("grant create on schema public to writer")
    await admin.execute(f"grant create on database {blank.name} to writer; set role writer; create schema notifiws")
    owner = await blank.connect(superuser=superuser)
    for call in (migrate, check_schema):
        with pytest.raises(SchemaForeign, match="schema notifiws belongs to role writer"):
            await call(owner)
    await admin.execute("drop schema notifiws")
    for step in loader.migrations():
        await admin.execute(step.sql.replace("from pg_control_system()", "from (select 1 as system_identifier) s"))
    await admin.execute(TRAP)
    for call in (migrate, check_schema):
        with pytest.raises(SchemaForeign, match=r"schema notifiws belongs to role writer \(not the only one"):
            await call(owner)
    assert await owner.fetchval("select to_regclass('public.trapped')") is None
    await admin.execute("reset role; drop schema notifiws cascade")
    await migrate(owner)
    await check_schema(owner)


async def test_what_others_put_into_the_schema_is_named(log: Log) -> None:
    admin = await log.database.connect(superuser=True)
    await admin.execute("create view notifiws.mine as select 1 as a; alter view notifiws.mine owner to writer")
    for call in (migrate, check_schema):
        with pytest.raises(SchemaForeign, match="view mine belongs to role writer"):
            await call(log.pg)


async def test_superusers_and_members_of_the_owner_are_trusted(log: Log) -> None:
    """Whoever may act as the owner anyway gains nothing: a watch that such a role made stops nothing."""
    admin = await log.database.connect(superuser=True)
    await admin.execute("create table t (id int primary key); select notifiws.watch('t', 'a')")
    await check_schema(admin)
    await migrate(log.pg)
    await check_schema(log.pg)
