"""doctor on a database: schema, grants, watches, the log and its locks, provoked for real, and mended by what it says.

The suite's own Postgres is what a customer's must not be: fsync and its like are off.
"""

import contextlib
from collections.abc import AsyncIterator

import asyncpg
import pytest

from notifiws.doctor.adapters import postgres as adapter
from notifiws.doctor.checks import postgres as checks
from notifiws.stack.ports import free_port
from notifiws.stack.postgres import PostgresServer
from notifiws.stack.valkey import ValkeyServer
from tests.conftest import Database
from tests.doctor import doctor
from tests.integration.listener.pooler import transaction_pooler

OFF = {"fsync_off", "full_page_writes_off", "synchronous_commit_off"}
TRIGGER = """
create table ventas (id serial primary key, total numeric(12, 2) not null);
create function notify_new_sale() returns trigger language plpgsql as $$
begin perform pg_notify('sales_channel', row_to_json(new)::text); return new; end $$;
create trigger new_sale after insert on ventas for each row execute function notify_new_sale();
"""


@pytest.fixture
async def pg(database: Database) -> asyncpg.Connection:
    return await database.connect()


@contextlib.asynccontextmanager
async def login_role(database: Database, name: str, more: str = "") -> AsyncIterator[str]:
    """A role of its own, with no rights; its URL."""
    admin = await database.connect(superuser=True)
    await admin.execute(f"create role {name} login password 'geheim123'")
    try:
        if more:
            await admin.execute(more)
        yield f"postgresql://{name}:geheim123@127.0.0.1:{database.server.port}/{database.name}"
    finally:
        await admin.execute(f"drop owned by {name} cascade; drop role {name}")


async def test_what_a_crash_loses(database: Database) -> None:
    examined = await doctor(database.url)
    assert examined.errors == OFF
    assert examined.codes == OFF | {"no_leader"}
    assert examined["fsync_off"].fix == "ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf()"
    assert examined.report.exit_code == 1
    # Nothing of Postgres was out of reach for the owner.
    assert set(examined.unchecked) == {"redis", "services"}


async def test_without_a_schema(empty_database: Database) -> None:
    examined = await doctor(empty_database.url)
    assert examined["schema_missing"].fix == "notifiws migrate"
    assert (examined.errors, examined.report.exit_code) == (OFF | {"schema_missing"}, 6)


async def test_schemas_of_other_releases(database: Database, pg: asyncpg.Connection) -> None:
    await pg.execute("update notifiws.meta set functions_digest = 'another'")
    examined = await doctor(database.url)
    assert (examined["functions_differ"].fix, examined.report.exit_code) == ("notifiws migrate", 1)
    await pg.execute("update notifiws.meta set schema_version = 1")
    examined = await doctor(database.url)
    assert ("schema_old" in examined.codes, examined.report.exit_code) == (True, 6)
    await pg.execute("update notifiws.meta set schema_version = 99")
    examined = await doctor(database.url)
    assert ("schema_newer" in examined.codes, examined.report.exit_code) == (True, 1)
    await pg.execute("update notifiws.meta set compatible_from = 98")
    examined = await doctor(database.url)
    assert "upgrade notifiws" in examined["schema_too_new"].fix
    assert examined.report.exit_code == 6


async def test_a_schema_with_something_of_a_stranger_is_not_touched(database: Database) -> None:
    code = "create function notifiws.log_broken() returns text language sql as $$ select pg_sleep(1000)::text $$"
    async with login_role(database, "stranger") as url:
        admin = await database.connect(superuser=True)
        await admin.execute("drop function notifiws.log_broken(); grant usage, create on schema notifiws to stranger")
        stranger = await asyncpg.connect(url)
        await stranger.execute(code)
        await stranger.close()
        examined = await doctor(database.url)
        assert "function log_broken belongs to role stranger" in examined["schema_foreign"].what
        assert (examined.report.facts.log, examined.report.exit_code) == (None, 6)
        # The same for the schema itself: nobody is told to connect as whoever made it.
        await admin.execute("alter schema notifiws owner to stranger")
        examined = await doctor(database.url)
        assert ("schema_foreign" in examined.codes, "not_owner" in examined.codes) == (True, False)


async def test_roles_and_grants(database: Database, pg: asyncpg.Connection) -> None:
    async with login_role(database, "web") as url:
        examined = await doctor(url)
        assert examined["not_owner"].fix == "connect as notifiws_owner, or GRANT notifiws_owner TO web"
        # A role that may see little is told what it does not see, and nothing falls over.
        assert "pg_read_all_stats TO web" in examined.unchecked["postgres: open transactions of other roles"]
        assert examined.report.exit_code == 1

        examined = await doctor(database.url, reader_url=url)
        assert examined["reader_grants"].what.endswith("may not read notifiws.meta, notifiws.outbox, notifiws.tick")
        admin = await database.connect(superuser=True)
        await admin.execute(examined["reader_grants"].fix)
        examined = await doctor(database.url, reader_url=url)
        assert not {"reader_grants", "reader_is_owner", "reader_elsewhere", "reader_away"} & examined.codes
        assert not {"log_public", "log_writers"} & examined.codes
        assert "not_owner" in (await doctor(url)).codes  # it may read the log, and not cut it
        await pg.execute("grant insert, select on notifiws.outbox to web")
        examined = await doctor(database.url)
        assert examined["log_writers"].what == "role web has INSERT on notifiws.outbox"
        await pg.execute(examined["log_writers"].fix)
        assert "log_writers" not in (await doctor(database.url)).codes

    examined = await doctor(database.url, reader_url=database.url)
    assert examined["reader_is_owner"].severity == "warning"
    assert "a superuser" in (await doctor(database.superuser_url))["superuser"].what
    admin = await database.connect(superuser=True)
    await admin.execute("do $$ begin execute format('alter schema notifiws owner to %I', current_user); end $$")
    assert (await doctor(database.url))["superuser"].what.startswith("schema notifiws belongs to")
    await admin.execute("alter schema notifiws owner to notifiws_owner")

    await pg.execute("grant select on notifiws.outbox to public; revoke usage on schema notifiws from notifiws_emitter")
    examined = await doctor(database.url)
    assert examined["log_public"].what == "PUBLIC has SELECT on notifiws.outbox"
    assert "emitter_grants" in examined.codes
    await pg.execute(examined["log_public"].fix)
    await pg.execute(examined["emitter_grants"].fix)
    assert not {"log_public", "emitter_grants"} & (await doctor(database.url)).codes


async def test_a_reader_of_another_database(database: Database, empty_database: Database) -> None:
    examined = await doctor(database.url, reader_url=empty_database.url)
    assert "reader_elsewhere" in examined.errors
    examined = await doctor(database.url, reader_url=f"postgresql://u:geheim@127.0.0.1:{free_port()}/d")
    assert "geheim" not in examined["reader_away"].what


async def test_watches_not_in_force(database: Database, pg: asyncpg.Connection) -> None:
    await pg.execute("create table a (id int primary key, b int); create table gone (id int primary key)")
    await pg.execute("select notifiws.watch('a', 'as'), notifiws.watch('gone', 'gone')")
    assert not {"watch_not_in_force", "watch_changed"} & (await doctor(database.url)).codes
    await pg.execute("alter table a disable trigger user")
    finding = (await doctor(database.url))["watch_not_in_force"]
    assert "the watch of public.a on channel as" in finding.what
    assert finding.fix.startswith("ALTER TABLE public.a ENABLE TRIGGER notifiws_")
    await pg.execute(finding.fix)
    assert "watch_not_in_force" not in (await doctor(database.url)).codes
    await pg.execute("drop table gone")
    finding = (await doctor(database.url))["watch_not_in_force"]
    assert finding.fix == "notifiws unwatch public.gone --channel gone"
    await pg.execute("select notifiws.forget('gone', 'gone')")
    name = await pg.fetchval("select tgname from pg_trigger where tgrelid = 'a'::regclass limit 1")
    await pg.execute(f'drop trigger "{name}" on a')
    assert (await doctor(database.url))["watch_not_in_force"].fix == "notifiws watch public.a --channel as"


async def test_partitions_not_in_force(database: Database, pg: asyncpg.Connection) -> None:
    await pg.execute(
        "create table p (id int primary key) partition by list (id); create table p1 partition of p for values in (1);"
        "create table p2 partition of p for values in (2); select notifiws.watch('p', 'ps')"
    )
    await pg.execute("alter table p1 disable trigger user")
    finding = (await doctor(database.url))["watch_not_in_force"]
    assert finding.fix.startswith("ALTER TABLE public.p1 ENABLE TRIGGER notifiws_")
    await pg.execute(finding.fix)
    assert "watch_not_in_force" not in (await doctor(database.url)).codes


async def test_tables_that_lose_events(database: Database, pg: asyncpg.Connection) -> None:
    await pg.execute("create unlogged table u (id int primary key); select notifiws.watch('u', 'us')")
    examined = await doctor(database.url)
    await pg.execute(examined["watch_unlogged"].fix)
    admin = await database.connect(superuser=True)
    # What CREATE SUBSCRIPTION notes of the tables that it writes to.
    await admin.execute("insert into pg_subscription_rel (srsubid, srrelid, srsubstate) values (1, 'u'::regclass, 'r')")
    await admin.execute(f"alter database {database.name} set session_replication_role = replica")
    examined = await doctor(database.url)
    assert "watch_unlogged" not in examined.codes
    assert examined["apply_not_captured"].fix == "notifiws watch public.u --channel us --always"
    assert examined["watch_not_in_force"].fix == "notifiws watch public.u --channel us --always"
    await pg.execute("select notifiws.watch('u', 'us', always => true)")
    assert not {"apply_not_captured", "watch_not_in_force"} & (await doctor(database.url)).codes


async def test_the_customers_trigger_is_shown_the_way(database: Database, pg: asyncpg.Connection) -> None:
    await pg.execute(TRIGGER)
    finding = (await doctor(database.url))["notify_trigger"]
    assert finding.severity == "note"
    assert finding.fix == (
        "notifiws watch public.ventas --channel sales --events insert, "
        "or, as it is: notifiws adopt sales_channel --channel sales"
    )
    await pg.execute("select notifiws.adopt('sales_channel', 'sales'), notifiws.adopt('nobody', 'other')")
    examined = await doctor(database.url)
    assert "then drop the trigger and notifiws unadopt sales_channel" in examined["notify_trigger"].fix
    assert "NOTIFY channel nobody" in examined["adopted_unsent"].what
    assert "adopted_and_watched" not in examined.codes
    await pg.execute("select notifiws.watch('ventas', 'sales')")
    examined = await doctor(database.url)
    assert examined["adopted_and_watched"].fix == "notifiws unadopt sales_channel"
    await pg.execute("create table pedidos (id int primary key); select notifiws.watch('pedidos', 'sales')")
    assert "public.pedidos, public.ventas" in (await doctor(database.url))["shared_channel"].what


async def test_locks_in_other_hands(database: Database, pg: asyncpg.Connection, valkey: ValkeyServer) -> None:
    other = await database.connect(server_settings={"application_name": "psql"})
    await other.fetch("select pg_advisory_lock(1852797033, 1), pg_advisory_lock(1852797033, 2)")
    examined = await doctor(database.url)
    assert "application psql" in examined["leader_lock_taken"].what
    assert "the lock of the doorbell" in examined["lock_held"].what
    await pg.fetch(examined["leader_lock_taken"].fix)
    async with login_role(database, "impostor") as url:
        impostor = await asyncpg.connect(url, server_settings={"application_name": "notifiws relay"})
        await impostor.fetch("select pg_advisory_lock(1852797033, 1)")
        assert "role impostor" in (await doctor(database.url))["leader_lock_taken"].what
        await impostor.close()
    ours = await database.connect(server_settings={"application_name": "notifiws relay"})
    await ours.fetch("select pg_advisory_lock(1852797033, 1)")
    examined = await doctor(database.url, valkey.url)
    assert not {"leader_lock_taken", "lock_held", "no_leader"} & examined.codes
    assert "has never beaten" in examined["leader_elsewhere"].what


async def test_a_log_that_stands_still(database: Database, pg: asyncpg.Connection) -> None:
    await pg.execute(
        "insert into notifiws.tick (number, slot, snapshot, at) "
        "values (1, notifiws.slot(), pg_current_snapshot(), now() - interval '5 days')"
    )
    await pg.execute(
        "insert into notifiws.outbox (slot, channel, op, payload, bytes, at) "
        "values (notifiws.slot(), 'a', 'emit', '1', 1, now() - interval '1 minute')"
    )
    await pg.execute("update notifiws.meta set system_identifier = '1'")
    unused = await pg.fetchval("select (notifiws.slot() + 4) % 8")
    await pg.execute(f"alter table notifiws.tick detach partition notifiws.tick_{unused}")
    examined = await doctor(database.url)
    assert examined["lagging"].what.startswith("the oldest event in the log has waited 6")
    assert "120 h" in examined["retention_behind"].what
    assert "another system identifier" in examined["log_broken"].what
    assert "notifiws.tick has 7 of its 8 partitions" in examined["partition_missing"].what


async def test_a_log_near_its_bound(database: Database) -> None:
    assert "log_size" not in (await doctor(database.url)).codes
    assert "log_size" not in (await doctor(database.url, log_bytes=0)).codes
    assert "0 MB that NOTIFIWS_LOG_BYTES allows" in (await doctor(database.url, log_bytes=1000))["log_size"].what


async def test_redis_tells_another_story(database: Database, valkey: ValkeyServer) -> None:
    ours = await database.connect(server_settings={"application_name": "notifiws relay"})
    await ours.fetch("select pg_advisory_lock(1852797033, 1)")
    epoch = await ours.fetchval("select epoch from notifiws.meta")
    valkey.command("SET", "notifiws:epoch", "elsewher")
    valkey.command("SET", "notifiws:published", f"{epoch}:900:0")
    examined = await doctor(database.url, valkey.url)
    assert examined["redis_epoch"].what == f"the log's epoch is {epoch}, and Redis has elsewher"
    assert "tick 900" in examined["redis_ahead"].what


async def test_a_live_query_that_fails(database: Database, pg: asyncpg.Connection) -> None:
    await pg.execute("create table t (id int primary key)")
    await pg.execute("select notifiws.live_query('totals', 'select count(*) from t', '{t}')")
    assert "live_query_failing" not in (await doctor(database.url)).codes
    await pg.execute(
        "insert into notifiws.live_query_state (channel, version, last_error) "
        "select channel, version, 'division by zero' from notifiws.live_query_entry "
        "on conflict (channel) do update set last_error = excluded.last_error"
    )
    assert "totals fails: division by zero" in (await doctor(database.url))["live_query_failing"].what


async def test_settings_of_roles_and_databases(database: Database) -> None:
    admin = await database.connect(superuser=True)
    async with login_role(database, "batch"):
        await admin.execute(f"alter role batch in database {database.name} set synchronous_commit = off")
        for name, value in (("idle_session_timeout", "5s"), ("transaction_timeout", "1min")):
            await admin.execute(f"alter database {database.name} set {name} = '{value}'")
        examined = await doctor(database.url)
        finding = examined["role_synchronous_commit_off"]
        assert finding.fix == f"ALTER ROLE batch IN DATABASE {database.name} RESET synchronous_commit"
        assert "5000 ms" in examined["idle_session_timeout"].what
        assert "60000 ms" in examined["transaction_timeout"].what
        await admin.execute(finding.fix)
        assert "role_synchronous_commit_off" not in (await doctor(database.url)).codes


async def test_who_holds_old_rows(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "SESSION_SECONDS", 0.0)
    monkeypatch.setattr(checks, "HOUR", 0.0)
    admin = await database.connect(superuser=True)
    idle = await database.connect(server_settings={"application_name": "forgotten"})
    await admin.fetch("select pg_create_logical_replication_slot('unread', 'pgoutput')")
    async with idle.transaction():
        await idle.fetch("select pg_current_xact_id()")
        examined = await doctor(database.url)
        await admin.fetch(examined["idle_slot"].fix.partition(",")[0])
        assert "application forgotten" in examined["old_transaction"].what
        assert examined["old_transaction"].fix == f"SELECT pg_terminate_backend({idle.get_server_pid()})"
    assert "idle_slot" not in (await doctor(database.url)).codes


async def test_a_pooler_in_between(database: Database) -> None:
    async with transaction_pooler(database.url) as url:
        examined = await doctor(url)
    assert "pooler" in examined["pooler"].what
    # All else is seen through it.
    assert examined.errors == OFF | {"pooler"}
    assert examined.report.facts.log is not None


async def test_a_pooler_in_statement_mode(database: Database) -> None:
    async with transaction_pooler(database.url, statement=True) as url:
        examined = await doctor(url)
    assert "statement pooling" in examined["pooler"].what
    assert examined.report.exit_code == 1


async def test_sql_ascii(postgres_server: PostgresServer) -> None:
    admin = await asyncpg.connect(postgres_server.url_of("postgres", superuser=True))
    try:
        await admin.execute(
            "create database bytes owner notifiws_owner template template0 encoding 'SQL_ASCII' "
            "locale_provider libc locale 'C'"
        )
        assert "sql_ascii" in (await doctor(postgres_server.url_of("bytes"))).errors
    finally:
        await admin.execute("drop database if exists bytes with (force)")
        await admin.close()


async def test_without_postgres_the_rest_is_still_seen(valkey: ValkeyServer) -> None:
    url = f"postgresql://me:geheim@127.0.0.1:{free_port()}/db"
    examined = await doctor(url, valkey.url)
    assert "does not answer" in examined["postgres_away"].what
    assert "geheim" not in str(examined.report.as_json())
    assert examined.report.facts.redis is not None
    assert examined.report.exit_code == 4
