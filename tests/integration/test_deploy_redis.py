"""The parts on a Redis as compose.yaml has it: our settings, one user who may little, secrets as files."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis.asyncio as redis
from redis.exceptions import NoPermissionError
from websockets.asyncio.client import connect

from notifiws.stack.ports import free_port
from notifiws.stack.process import spawn
from notifiws.stack.valkey import binary
from tests.conftest import Database

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
NOTIFIWS = str(Path(sys.executable).with_name("notifiws"))


@pytest.fixture
def redis_url_file(tmp_path: Path) -> Iterator[Path]:
    """A server with deploy/valkey.conf and the users that deploy/make-secrets writes; the file with its URL."""
    (tmp_path / "deploy").mkdir()
    subprocess.run([shutil.copy(DEPLOY / "make-secrets", tmp_path / "deploy")], check=True, capture_output=True)
    secrets = tmp_path / "deploy/secrets"
    port = free_port()
    settings = (DEPLOY / "valkey.conf").read_text(encoding="utf-8")
    settings = settings.replace("/run/secrets", str(secrets)).replace("dir /data", f"dir {tmp_path}")
    config = tmp_path / "valkey.conf"
    config.write_text(f"{settings}\nport {port}\nbind 127.0.0.1\n", encoding="utf-8")
    url = tmp_path / "redis_url"
    url.write_text((secrets / "redis_url").read_text(encoding="ascii").replace("redis:6379", f"127.0.0.1:{port}"))
    server = spawn([str(binary()), str(config)], death_signal=signal.SIGKILL, log=tmp_path / "valkey.log")
    yield url
    server.kill()
    server.wait()


@contextlib.contextmanager
def part(command: str, log: Path, **settings: str) -> Iterator[None]:
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"} | settings
    process = spawn([NOTIFIWS, command], death_signal=signal.SIGKILL, log=log, env=environment, cwd=log.parent)
    try:
        yield
        assert process.poll() is None, f"{command} ended:\n{log.read_text(encoding='utf-8')[-2000:]}"
    finally:
        process.kill()
        process.wait()


async def healthy(**settings: str) -> None:
    """As compose asks: `notifiws healthcheck`, until it is satisfied."""
    arguments = ["--listener"] if "NOTIFIWS_LISTENER_PORT" in settings else []
    async with asyncio.timeout(30):
        while True:
            asked = await asyncio.create_subprocess_exec(
                NOTIFIWS, "healthcheck", *arguments, env=os.environ | settings, stderr=asyncio.subprocess.DEVNULL
            )
            if await asked.wait() == 0:
                return
            await asyncio.sleep(0.1)


async def test_listener_and_node_need_no_more_than_compose_gives_them(
    redis_url_file: Path, database: Database, tmp_path: Path
) -> None:
    owner = await database.connect()
    await owner.execute("CREATE TABLE public.ventas (id int PRIMARY KEY)")
    await owner.execute("SELECT notifiws.watch('public.ventas', 'sales')")
    database_url = tmp_path / "database_url"
    database_url.write_text(database.url, encoding="ascii")
    common = {"REDIS_URL_FILE": str(redis_url_file), "NOTIFIWS_LOG_FORMAT": "json"}
    listener = {"NOTIFIWS_LISTENER_PORT": str(free_port())}
    node = {"NOTIFIWS_PORT": str(free_port()), "NOTIFIWS_AUTH": "none", "NOTIFIWS_HOST": "0.0.0.0"}
    with (
        part("listener", tmp_path / "listener.log", DATABASE_URL_FILE=str(database_url), **common, **listener),
        part("ws", tmp_path / "ws.log", **common, **node),
    ):
        await healthy(**listener)
        await healthy(**node)
        url = f"ws://127.0.0.1:{node['NOTIFIWS_PORT']}/ws"
        # First live, then by history: both sides of the broker.
        for rewind in (None, 3):
            async with connect(url, subprotocols=["notifiws.v1"]) as socket, asyncio.timeout(10):  # type: ignore[list-item]
                subscribe = {"type": "subscribe", "id": 1, "channel": "sales"} | ({"rewind": rewind} if rewind else {})
                await socket.send(json.dumps(subscribe))
                got: list[int] = []
                while len(got) < 3:
                    frame = json.loads(await socket.recv())
                    assert frame["type"] in ("welcome", "subscribed", "events"), frame
                    if frame["type"] == "subscribed" and not rewind:
                        await owner.execute("INSERT INTO public.ventas SELECT generate_series(1, 3)")
                    got += [event["new"]["id"] for event in frame.get("events", [])]
                assert got == [1, 2, 3]
    for log in ("listener.log", "ws.log"):
        lines = [json.loads(line) for line in (tmp_path / log).read_text(encoding="utf-8").splitlines()]
        assert not [line for line in lines if line["level"] in ("error", "critical")]


async def test_the_users_may_nothing_else(redis_url_file: Path) -> None:
    url = redis_url_file.read_text(encoding="ascii")
    ours = redis.Redis.from_url(url)
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(redis.ConnectionError):
                await ours.ping()
                break
            await asyncio.sleep(0.05)
    anybody = redis.Redis.from_url("redis://" + url.partition("@")[2])
    try:
        assert await anybody.ping()
        await ours.set("notifiws:x", "1")
        for refused in (
            ours.set("other:x", "1"),
            ours.publish("other", "x"),
            ours.flushall(),
            ours.config_get("*"),
            ours.keys("*"),
            anybody.get("notifiws:x"),
            anybody.publish("notifiws:{sales}:live", "x"),
        ):
            with pytest.raises(NoPermissionError):
                await refused
    finally:
        await ours.aclose()
        await anybody.aclose()
