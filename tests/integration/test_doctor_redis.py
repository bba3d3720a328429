"""doctor on a Redis: what it may lose, refuse or forget, provoked on a server of its own."""

import asyncio
import itertools
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from notifiws.stack.ports import free_port
from notifiws.stack.process import spawn
from notifiws.stack.valkey import ValkeyServer, binary
from tests.doctor import Examined, doctor


@pytest.fixture(scope="module")
def _server(server_folder: Path) -> Iterator[ValkeyServer]:
    server = ValkeyServer(server_folder / "doctor-valkey")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own(_server: ValkeyServer) -> Iterator[ValkeyServer]:
    """Whatever a test sets, the next one finds it as `up` starts it."""
    yield _server
    for name, value in (
        ("maxmemory", "0"),
        ("maxmemory-policy", "noeviction"),
        ("appendonly", "yes"),
        ("proto-max-bulk-len", "512mb"),
        ("client-output-buffer-limit", "pubsub 64mb 32mb 60"),
    ):
        _server.command("CONFIG", "SET", name, value)
    _server.command("REPLICAOF", "NO", "ONE")


async def examine(server: ValkeyServer) -> Examined:
    return await doctor(None, server.url)


async def test_as_up_starts_it_there_is_nothing_to_find(own: ValkeyServer) -> None:
    examined = await examine(own)
    assert (examined.codes, examined.report.exit_code) == (set(), 0)
    assert set(examined.unchecked) == {"postgres", "services"}
    assert examined.report.facts.redis is not None
    assert examined.report.facts.redis.product == "Valkey"


async def test_policies_that_evict(own: ValkeyServer) -> None:
    own.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    assert "redis_evicts" not in (await examine(own)).codes  # without maxmemory it never acts
    own.command("CONFIG", "SET", "maxmemory", "1gb")
    examined = await examine(own)
    assert (examined.errors, examined.report.exit_code) == ({"redis_evicts"}, 1)
    own.command(*examined["redis_evicts"].fix.partition(",")[0].split())
    assert (await examine(own)).codes == set()
    own.command("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
    examined = await examine(own)
    assert (examined.codes, examined.report.exit_code) == ({"redis_evicts_expiring"}, 0)


async def test_limits(own: ValkeyServer) -> None:
    own.command("CONFIG", "SET", "maxmemory", "1mb")
    own.command("CONFIG", "SET", "proto-max-bulk-len", "2mb")
    own.command("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 512kb 60")
    examined = await examine(own)
    assert {"redis_memory", "redis_bulk_limit", "redis_pubsub_buffer"} == examined.codes
    assert "1048576 bytes, or 524288 for 60 s" in examined["redis_pubsub_buffer"].what


async def test_nothing_on_disk(own: ValkeyServer) -> None:
    own.command("CONFIG", "SET", "appendonly", "no")
    examined = await examine(own)
    assert (examined.codes, examined.report.exit_code) == ({"redis_not_persistent"}, 0)
    own.command(*examined["redis_not_persistent"].fix.partition(",")[0].split())
    assert (await examine(own)).codes == set()


async def test_a_replica(own: ValkeyServer) -> None:
    own.command("REPLICAOF", "127.0.0.1", str(free_port()))
    assert (await examine(own)).errors == {"redis_replica"}


@pytest.fixture
async def users(own: ValkeyServer) -> Redis:
    async with Redis.from_url(own.url) as client:
        yield client
        for user in ("app", "few"):
            await client.execute_command("ACL", "DELUSER", user)


async def test_a_user_that_may_do_what_compose_grants(own: ValkeyServer, users: Redis) -> None:
    rules = ("on", ">geheim123", "~notifiws:*", "&notifiws:*", "+@all", "-@admin", "-@dangerous", "+info")
    await users.execute_command("ACL", "SETUSER", "app", *rules)
    examined = await doctor(None, f"redis://app:geheim123@127.0.0.1:{own.port}/0")
    # CONFIG is forbidden, as on managed servers: said, and no reason to stop.
    assert (examined.codes, examined.report.exit_code) == (set(), 0)
    assert "redis: CONFIG (save, client-output-buffer-limit, proto-max-bulk-len)" in examined.unchecked
    assert examined.report.facts.redis is not None
    assert examined.report.facts.redis.user == "app"


async def test_a_user_that_may_too_little(own: ValkeyServer, users: Redis) -> None:
    await users.execute_command(
        "ACL", "SETUSER", "few", "on", ">geheim123", "~notifiws:*", "&other:*", "+@all", "-xadd", "-@dangerous"
    )
    examined = await doctor(None, f"redis://few:geheim123@127.0.0.1:{own.port}/0")
    assert examined["redis_acl"].what == "Redis' user few may not run PUBLISH, SUBSCRIBE, XADD on the namespace"
    await users.execute_command("ACL", "SETUSER", "few", "-eval", "-info", "-time", "-acl", "-ping")
    examined = await doctor(None, f"redis://few:geheim123@127.0.0.1:{own.port}/0")
    assert "may not run EVAL" in examined["redis_acl"].what
    assert "redis: INFO" in examined.unchecked


async def test_a_wrong_password_is_away_and_not_repeated(own: ValkeyServer) -> None:
    for url in (f"redis://:geheim123@127.0.0.1:{own.port}/0", f"redis://127.0.0.1:{own.port}/0"):
        examined = await doctor(None, url)
        assert (examined.codes, examined.report.exit_code) == ({"redis_away"}, 5)
        assert "password" in examined["redis_away"].what
        assert "geheim123" not in str(examined.report.as_json())
    examined = await doctor(None, f"redis://127.0.0.1:{free_port()}/0")
    assert (examined.codes, examined.report.exit_code) == ({"redis_away"}, 5)


async def test_a_heart_that_beats_by_another_clock(own: ValkeyServer) -> None:
    own.command("SET", "notifiws:relay", '{"epoch": "a", "at_ms": 1000}')
    examined = await examine(own)
    assert ((examined.report.facts.redis and examined.report.facts.redis.beat_age) or 0) > 10**9
    examining = asyncio.create_task(examine(own))
    beats = itertools.count(1001)
    while not examining.done():
        own.command("SET", "notifiws:relay", f'{{"epoch": "a", "at_ms": {next(beats)}}}')
        await asyncio.sleep(0.1)
    assert (await examining).report.facts.redis.beat_age == 0.0  # type: ignore[union-attr]
    own.command("DEL", "notifiws:relay")


async def test_a_node_of_a_cluster(tmp_path: Path) -> None:
    port = free_port()
    words = (
        f"--port {port} --bind 127.0.0.1 --cluster-enabled yes --cluster-port {free_port()} --save '' --dir {tmp_path}"
    )
    server = spawn([str(binary()), *words.replace("''", "").split()], death_signal=signal.SIGKILL, cwd=tmp_path)
    try:
        examined = await doctor(None, f"redis://127.0.0.1:{port}/0")
        while "redis_away" in examined.codes:
            examined = await doctor(None, f"redis://127.0.0.1:{port}/0")
        assert "redis_cluster" in examined.errors
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(tmp_path, ignore_errors=True)
