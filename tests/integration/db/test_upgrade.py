"""From every released schema to this one, with data, writers and the old listener running: nothing is lost."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from db import loader
from db import migrate as migration
from db.migrate import MigrationBlocked, SchemaMissing, check_schema, inspect_schema, migrate
from tests.conftest import Database
from tests.integration.db.log import Log, Replica
from tests.integration.db.released import RELEASED, OldListener, Release

pytestmark = pytest.mark.parametrize(
    "release", [Release(version) for version in RELEASED], ids=lambda r: f"from{r.version}"
)

# Statement triggers with and without pairs, a key of two columns, a row that its own table's trigger writes again, a
# cascade, chosen columns, two watches on one table.
TABLES = """
create table plain (id int primary key, n int not null, note text);
create table pair (a int, b text, v jsonb, primary key (a, b));
create table again (id int primary key, n int not null default 0);
create table parent (id int primary key);
create table child (id int primary key, parent int references parent on delete cascade);
create function touch() returns trigger language plpgsql as
    $$ begin update again set n = n + 1 where id = new.id and n < 2; return null; end $$;
create trigger touch after insert on again for each row execute function touch();
select notifiws.watch(t::regclass, t) from unnest('{plain,pair,again,parent,child}'::text[]) t;
select notifiws.watch('plain', 'narrow', columns => '{n}');
select notifiws.adopt('legacy', 'plain-notify');
insert into plain select g, g, 'before' from generate_series(1, 500) g;
insert into parent select generate_series(1, 50);
insert into child select g, g from generate_series(1, 50) g;
"""
SOURCES = ("plain", "pair", "again", "parent", "child")


class Settled(Replica):
    """A table that its own triggers write: only where the events end counts."""

    def apply(self, row: asyncpg.Record) -> None:
        """The last word on each key."""
        if row["new"] is None:
            self.rows.pop(row["key"], None)
        else:
            self.rows[row["key"]] = row["new"]


_FIRST = itertools.count(1000, 10_000_000)


class Writers:
    """Write to all tables until stopped, as an application would whose sessions wait a second for a lock at most."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._stopping = False
        self.transactions = 0
        self._first = next(_FIRST)

    async def run(self) -> None:
        """Until `stop`."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(3):
                session = await self._log.session(server_settings={"lock_timeout": "1s"})
                tasks.create_task(self._write(number, session))

    def stop(self) -> None:
        """End after the transactions in hand."""
        self._stopping = True

    async def _write(self, writer: int, pg: "asyncpg.Connection[Any]") -> None:
        step = 0
        while not self._stopping:
            step += 1
            id_ = self._first + writer * 1_000_000 + step * 10
            async with pg.transaction():
                await pg.execute("insert into plain select g, 0, 'new' from generate_series($1::int, $1 + 4) g", id_)
                await pg.execute("update plain set n = n + 1 where id between $1 and $1 + 2", id_)
                await pg.execute("update plain set id = id + 5 where id = $1", id_)
                await pg.execute("insert into pair values ($1, 'ñ \"x\"', '{\"a\": [1]}')", id_)
                await pg.execute("update pair set b = 'y', v = null where a = $1", id_)
                await pg.execute("insert into parent values ($1)", id_)
                await pg.execute("insert into child select g, $1 from generate_series($1::int, $1 + 2) g", id_)
                if step % 2:
                    await pg.execute("delete from parent where id = $1", id_)
                await pg.execute("select notifiws.emit('emitted', to_jsonb($1::int))", id_)
                if step % 5 == 0:  # last, for its capture reads a table that the migration changes, until the commit
                    await pg.execute("insert into again values ($1)", id_)
            self.transactions += 1
            await asyncio.sleep(0.01)


async def old_database(blank: Database, release: Release) -> Log:
    pg = await blank.connect()
    await release.install(pg)
    await pg.execute(TABLES)
    return Log(blank, pg)


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not check():
            await asyncio.sleep(0.01)


async def check_replay(log: Log, rows: list[asyncpg.Record]) -> None:
    """The events of each channel, in order, make its table; no id twice; everything that was written is there."""
    ids = [row["id"] for row in rows]
    assert len(ids) == len(set(ids))
    assert sorted(ids) == [row["id"] for row in await log.pg.fetch("select id from notifiws.outbox order by id")]
    for source in SOURCES:
        replica = Settled() if source == "again" else Replica()
        for row in rows:
            if row["channel"] == source:
                replica.apply(row)
        await replica.check(log, source)
    assert await log.pg.fetchval("select count(*) from notifiws.incident") == 0


async def test_with_writers_and_the_old_listener_running(blank: Database, release: Release) -> None:
    log = await old_database(blank, release)
    writers, listener = Writers(log), OldListener(release, blank)
    async with asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(listener.run())
        writing = tasks.create_task(writers.run())
        await until(lambda: len(listener.rows) > 1000)
        with pytest.raises(SchemaMissing, match=f"has version {release.version}"):
            await check_schema(log.pg)
        result = await migrate(log.pg)
        assert (result.from_version, result.to_version) == (release.version, loader.schema_version())
        assert result.problems == ()
        seen, written = len(listener.rows), writers.transactions
        # The old listener goes on beside this release's, which is a standby, and by what it sees the writers do too.
        await check_schema(await log.session())
        await until(lambda: len(listener.rows) > seen + 1000 and writers.transactions > written + 20)
        writers.stop()
        await writing
        listener.stop()
        await listening

    await check_replay(log, listener.rows)
    assert await log.events() == []
    assert (await migrate(log.pg)).applied == ()
    assert all(row["in_force"] for row in await log.query("watches"))
    # And this release reads what the old one wrote.
    for tick in await log.query("ticks_after", 0, 5):
        assert await log.query("tick_rows_narrow", tick["s1"], tick["s2"], 0)


async def write_a_little(log: Log, listener: OldListener) -> None:
    """Writers and the old listener, for twenty transactions."""
    writers = Writers(log)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(listener.run())
        writing = tasks.create_task(writers.run())
        await until(lambda: writers.transactions >= 20)
        writers.stop()
        await writing
        listener.stop()


async def test_cut_short_anywhere_the_old_release_works_and_the_next_migrate_goes_on(
    blank: Database, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await old_database(blank, release)
    rows: list[asyncpg.Record] = []
    missing = [step.title for step in loader.migrations() if step.number > release.version]
    stages = (("_renew_functions", ("functions", "captures")), ("_renew_captures", ("captures",)))
    for method, pending in stages:
        with monkeypatch.context() as patch:
            patch.setattr(migration._Migrate, method, _die)
            with pytest.raises(InterruptedError):
                await migrate(log.pg)
        report = await inspect_schema(log.pg)
        assert (report.state, report.pending) == ("behind", pending)
        if method == "_renew_functions":
            with pytest.raises(SchemaMissing, match=f"has version {release.version}"):
                await check_schema(log.pg)
        else:
            await check_schema(log.pg)
            # Generated by the old release, for a shape that the table no longer has: its slow way.
            await log.pg.execute(
                "alter table plain add column more text default 'x'; update plain set n = 0 where id < 5"
            )
            await log.pg.execute("update plain set note = 'y' where id = 7; delete from plain where id = 7")
        await write_a_little(log, listener := OldListener(release, blank))
        rows += listener.rows
    result = await migrate(log.pg)
    assert (result.applied, result.functions_changed, result.problems) == ((), False, ())
    assert (await inspect_schema(log.pg)).state == "current"
    assert missing
    await log.pg.execute("update plain set note = null")  # replicas know the new column of no other row
    await write_a_little(log, listener := OldListener(release, blank))
    await check_replay(log, rows + listener.rows)


async def _die(*_: Any) -> None:
    raise InterruptedError


async def test_it_ends_as_a_new_database_begins(blank: Database, release: Release) -> None:
    """Tables, functions, views, rights: an upgraded schema is the one that a first migrate makes."""
    log = await old_database(blank, release)
    await log.pg.execute(
        "create function notifiws.watch(text) returns int language sql as 'select 1'"
    )  # as an overload
    await migrate(log.pg)
    upgraded = await made(log)
    await log.pg.execute("drop schema notifiws cascade")
    await migrate(log.pg)
    for name, things in (await made(log)).items():
        assert set(upgraded[name]) ^ set(things) == set(), name


MADE = {
    "columns": """select table_name, column_name, data_type, is_nullable, column_default from information_schema.columns
        where table_schema = 'notifiws' order by 1, 2""",
    "functions": """select p.oid::regprocedure::text, md5(pg_get_functiondef(p.oid)), p.proacl::text from pg_proc p
        where pronamespace = 'notifiws'::regnamespace and proname !~ '_[0-9]' order by 1""",
    "rights": """select relname, relkind, relacl::text from pg_class
        where relnamespace = 'notifiws'::regnamespace and relkind <> 'i' order by 1""",
    "views": "select viewname, definition from pg_views where schemaname = 'notifiws' order by 1",
    "meta": "select schema_version, compatible_from, functions_digest, captures_digest from notifiws.meta",
}


async def made(log: Log) -> dict[str, list[tuple[Any, ...]]]:
    return {name: [tuple(row) for row in await log.pg.fetch(query)] for name, query in MADE.items()}


async def test_every_query_of_the_old_release_takes_and_gives_what_it_did(blank: Database, release: Release) -> None:
    log = await old_database(blank, release)

    async def shapes() -> dict[str, tuple[list[str], list[tuple[str, str]]]]:
        found = {}
        for name, query in release.queries.items():
            statement = await log.pg.prepare(query)
            parameters = [each.name for each in statement.get_parameters()]
            found[name] = parameters, [(each.name, each.type.name) for each in statement.get_attributes()]
        return found

    before = await shapes()
    await migrate(log.pg)
    after = await shapes()
    for name, (parameters, columns) in before.items():
        assert after[name][0] == parameters, name
        assert after[name][1][: len(columns)] == columns, name  # more may follow


async def test_what_others_built_and_were_granted_stays(blank: Database, release: Release) -> None:
    log = await old_database(blank, release)
    await log.pg.execute("""
        grant select on notifiws.watches to writer;
        grant usage on schema notifiws to writer; grant execute on function notifiws.emit to writer;
        create view public.ours as select channel, in_force from notifiws.watches;
    """)
    await migrate(log.pg)
    assert len(await log.pg.fetch("select * from public.ours where in_force")) == 6
    assert await log.pg.fetchval("select has_table_privilege('writer', 'notifiws.watches', 'select')")
    await (await log.session("writer")).execute("select notifiws.emit('a', '1')")


STRONG = "alter table notifiws.outbox add column probe integer; alter table notifiws.adopted add column probe integer"


def with_step(monkeypatch: pytest.MonkeyPatch, sql: str) -> None:
    """A release with one more migration."""
    steps = loader.migrations()
    steps = (*steps, loader.Migration(len(steps) + 1, "probe", sql))
    monkeypatch.setattr(loader, "migrations", lambda: steps)


async def test_writers_never_wait_a_second_for_a_migration_that_waits(
    blank: Database, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table of the log is changed while one transaction after another holds it: the others go on writing."""
    log = await old_database(blank, release)
    with_step(monkeypatch, STRONG)
    writers, blocker = Writers(log), await log.session()
    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(writers.run())
        await blocker.execute("begin; insert into plain values (-1, 0); lock table notifiws.adopted in share mode")
        migrating = tasks.create_task(migrate(await log.session()))
        await until(lambda: writers.transactions > 50)
        before = writers.transactions
        await asyncio.sleep(1.5)  # several tries
        assert writers.transactions > before + 5
        assert not migrating.done()
        await blocker.execute("commit")
        result = await migrating
        writers.stop()
        await writing
    assert result.applied[-1] == "0003_probe"
    rows = await log.cut()
    await check_replay(log, rows)


async def test_a_migration_that_would_hold_up_writers_is_given_up(
    blank: Database, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await old_database(blank, release)
    await migrate(log.pg)
    with_step(monkeypatch, STRONG + "; select pg_sleep(5)")
    with pytest.raises(MigrationBlocked, match="did not end within"):
        await migrate(log.pg, patience=0.1)
    assert (await inspect_schema(log.pg)).pending[0] == "0003_probe"
    assert await log.pg.fetchval("select tables_version from notifiws.meta") == 2
    await log.pg.execute("insert into plain values (-1, 0)")
