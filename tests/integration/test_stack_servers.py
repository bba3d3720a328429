"""The embedded servers: they come back after every kind of end, and nobody else's processes are touched."""

import os
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis.asyncio as redis

from notifiws.stack.errors import StackError
from notifiws.stack.postgres import PostgresServer
from notifiws.stack.process import Account, alive
from notifiws.stack.valkey import ValkeyServer


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="notifiws-test-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        yield Path(name)


def test_environment_is_scrubbed() -> None:
    assert not [name for name in os.environ if name.startswith("NOTIFIWS_") or name.endswith("_URL")]
    assert not Path(".env").exists()


@pytest.mark.parametrize("major", [18, 16])
async def test_postgres_keeps_committed_rows_through_kill_and_restart(folder: Path, major: int) -> None:
    server = PostgresServer(folder / "pg", major=major)
    server.start()
    try:
        connection = await asyncpg.connect(server.url)
        await connection.execute("create table t (a int); insert into t values (1)")
        assert (await connection.fetchval("select current_setting('server_version_num')")).startswith(str(major))
        assert not await connection.fetchval("select rolsuper from pg_roles where rolname = current_user")
        assert await connection.fetchval("select upper('ñandú')") == "ÑANDÚ"
        server.kill()
        connection.terminate()
        assert server.pid is None
        server.start()
        server.restart()
        connection = await asyncpg.connect(server.url)
        assert await connection.fetchval("select a from t") == 1
        connection.terminate()
    finally:
        server.stop()


async def test_postgres_wants_the_password(postgres_server: PostgresServer) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres_server.url, password="wrong")


async def test_databases_are_fresh_and_separate(database: Any, empty_database: Any) -> None:
    mine = await database.connect()
    assert await mine.fetchval("select count(*) from notifiws.tick") >= 1
    theirs = await empty_database.connect()
    assert await theirs.fetchval("select to_regnamespace('notifiws')") is None


async def test_valkey_keeps_its_data_through_kill_and_loses_it_by_wipe(valkey: ValkeyServer) -> None:
    client = redis.Redis.from_url(valkey.url)
    await client.set("k", "v")
    await client.aclose()
    valkey.kill()
    valkey.start()
    client = redis.Redis.from_url(valkey.url)
    assert await client.get("k") == b"v"
    assert (await client.config_get("appendonly"))["appendonly"] == "yes"
    await client.aclose()
    valkey.kill()
    valkey.wipe()
    valkey.start()
    client = redis.Redis.from_url(valkey.url)
    assert await client.get("k") is None
    await client.aclose()


_OWNER = """
    import pathlib, sys, time
    from notifiws.stack.postgres import PostgresServer
    from notifiws.stack.valkey import ValkeyServer
    home = pathlib.Path(sys.argv[1])
    servers = PostgresServer(home / "pg"), ValkeyServer(home / "valkey")
    for server in servers:
        server.start()
    print(*(server.pid for server in servers), flush=True)
    time.sleep(600)
"""


def test_kill_9_of_the_parent_takes_the_servers_with_it(folder: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_OWNER), str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout
    with owner.stdout:
        pids = [int(word) for word in owner.stdout.readline().split()]
    assert len(pids) == 2
    assert all(alive(pid) for pid in pids)
    owner.kill()
    owner.wait()
    _until(lambda: not any(alive(pid) for pid in pids))


def test_a_leftover_server_of_the_same_folder_is_ended_before_the_start(folder: Path) -> None:
    first = PostgresServer(folder / "pg"), ValkeyServer(folder / "valkey")
    for server in first:
        server.start()
    second = PostgresServer(folder / "pg"), ValkeyServer(folder / "valkey")
    try:
        for old, new in zip(first, second, strict=True):
            new.start()
            assert old.pid is None
            assert new.accepting()
    finally:
        for server in (*first, *second):
            server.stop()


def test_a_stale_pid_file_that_names_a_stranger_ends_nobody(folder: Path) -> None:
    stranger = subprocess.Popen(["sleep", "600"])
    server = ValkeyServer(folder / "valkey")
    try:
        server.initialize()
        (server.data / "valkey.pid").write_text(f"{stranger.pid}\n")
        server.start()
        assert stranger.poll() is None
    finally:
        server.stop()
        stranger.kill()
        stranger.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes users")
def test_as_root_behind_a_closed_folder(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    server = PostgresServer(closed / "pg")
    server.start()
    try:
        assert server.account is not None
        assert server.account.override
        assert closed.stat().st_mode & 0o777 == 0o700
        status = Path(f"/proc/{server.pid}/status").read_text()
        assert f"Uid:\t{server.account.uid}\t{server.account.uid}" in status
        assert "CapEff:\t0000000000000002" in status
    finally:
        server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes users")
def test_as_root_no_right_is_kept_that_is_not_needed(folder: Path) -> None:
    account = Account.choose(folder)
    assert account is not None
    assert not account.override


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes users")
def test_as_root_nothing_is_written_through_what_the_account_planted(folder: Path) -> None:
    """As an older release left it: the folders belong to the account, and hold links to what only root may write."""
    account = Account.choose()
    assert account is not None
    secret, absent = folder / "secret", folder / "absent"
    secret.write_text("root's own")
    secret.chmod(0o600)
    servers = PostgresServer(folder / "pg", log=folder / "pg.log"), ValkeyServer(folder / "vk", log=folder / "vk.log")
    for server in servers:
        server.home.mkdir()
        os.chown(server.home, account.uid, account.gid)
    for name in ("pg/superuser-password", "vk/valkey.conf"):
        (folder / name).symlink_to(secret)
    (folder / "pg/18.bootstrapped").symlink_to(absent)
    for server in servers:
        try:
            server.start()
            assert server.accepting()
        finally:
            server.stop()
        assert server.home.stat().st_uid == 0
        assert server.data.stat().st_uid == account.uid
        assert server.data.stat().st_mode & 0o777 == 0o700
    assert (secret.read_text(), secret.stat().st_uid, secret.stat().st_mode & 0o777) == ("root's own", 0, 0o600)
    assert not absent.exists()
    config = (folder / "vk/valkey.conf").lstat()
    assert (config.st_uid, config.st_mode) == (account.uid, stat.S_IFREG | 0o600)
    assert not (folder / "pg/superuser-password").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes users")
@pytest.mark.parametrize("name", ["vk/data", "vk/valkey.log"])
def test_as_root_a_link_in_place_of_a_folder_or_a_log_is_refused(folder: Path, name: str) -> None:
    other = folder / "other"
    if name == "vk/data":
        other.mkdir(mode=0o755)
    server = ValkeyServer(folder / "vk")
    server.home.mkdir()
    (folder / name).symlink_to(other)
    with pytest.raises(StackError, match=name):
        server.start()
    assert name != "vk/data" or (other.stat().st_uid, other.stat().st_mode & 0o777) == (0, 0o755)
    assert name == "vk/data" or not other.exists()


def test_an_interrupted_initdb_is_done_again(folder: Path) -> None:
    server = PostgresServer(folder / "pg")
    half = folder / "pg" / "18.initdb"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    server.start()
    server.stop()
    assert not half.exists()


def _until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)
