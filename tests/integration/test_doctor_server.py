"""doctor on a server of its own, as it should be: two-phase writers, a NOTIFY queue that nobody reads, a standby."""

from typing import Any

import asyncpg
import pytest

from notifiws.doctor.adapters import postgres as adapter
from notifiws.doctor.checks import postgres as checks
from notifiws.stack.postgres import PostgresServer
from tests.doctor import doctor


@pytest.fixture(scope="module")
def own(server_folder: Any) -> Any:
    """A server as it should be, but for two-phase commit, and a NOTIFY queue that fills quickly."""
    server = PostgresServer(
        server_folder / "doctor",
        fsync=False,
        options={
            "fsync": "on",
            "full_page_writes": "on",
            "synchronous_commit": "on",
            "max_prepared_transactions": "5",
            "max_notify_queue_pages": "64",
        },
    )
    server.start()
    yield server
    server.stop()


async def test_a_server_as_it_should_be(own: PostgresServer) -> None:
    examined = await doctor(own.url)
    assert examined.codes == {"schema_missing", "two_phase"}


async def test_two_phase_writers(own: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "PREPARED_SECONDS", -1.0)
    pg, admin = await asyncpg.connect(own.url), await asyncpg.connect(own.url_of("postgres", superuser=True))
    try:
        await pg.execute("create table p (id int)")
        await pg.execute("begin; insert into p values (1); prepare transaction 'mañana'")
        examined = await doctor(own.url)
        assert examined["two_phase"].severity == "warning"
        await pg.execute(examined["prepared_transaction"].fix.partition(", or ")[2])
        # Postgres lets only a superuser, or who was granted it, set a parameter that it does not know for others.
        await admin.execute("alter role notifiws_owner set notifiws.doorbell = off")
        assert not {"two_phase", "prepared_transaction"} & (await doctor(own.url)).codes
        await admin.execute("alter role notifiws_owner reset notifiws.doorbell")
        await pg.execute("drop table p")
    finally:
        await admin.close()
        await pg.close()


async def test_no_session_fires_triggers(own: PostgresServer) -> None:
    admin = await asyncpg.connect(own.url_of("notifiws", superuser=True))
    try:
        await admin.execute("alter system set session_replication_role = replica")
        await admin.fetch("select pg_reload_conf()")
        examined = await doctor(own.url)
        while "replica_role" not in examined.codes:  # the postmaster hears of it in its own time
            examined = await doctor(own.url)
        reset, _, reload = examined["replica_role"].fix.partition("; ")
        await admin.execute(reset)
        await admin.fetch(reload)
    finally:
        await admin.close()


async def test_a_notify_queue_that_nobody_reads(own: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "SESSION_SECONDS", 0.0)
    pg, deaf = await asyncpg.connect(own.url), await asyncpg.connect(own.url)
    fill = "select pg_notify('news', i || repeat('x', 1000)) from generate_series(1, $1::int) i"
    try:
        await deaf.execute("listen news")
        await deaf.execute("begin; select 1")
        await pg.fetch(fill, 100)
        finding = (await doctor(own.url))["notify_queue_filling"]
        assert f"pg_terminate_backend({deaf.get_server_pid()})" in finding.fix
        await pg.fetch(fill, 220)
        assert "notify_queue_full" in (await doctor(own.url)).errors
        await pg.fetch(finding.fix)
    finally:
        deaf.terminate()
        await pg.close()


async def test_a_standby_writes_nothing_and_is_named(own: PostgresServer) -> None:
    own.stop()
    signal_file = own.data / "standby.signal"
    signal_file.touch()
    own.launch()
    try:
        examined: Any = None
        while examined is None or "postgres_away" in examined.codes:
            examined = await doctor(own.url)
        assert "standby" in examined.errors
    finally:
        own.stop()
        signal_file.unlink()
        own.start()
