"""A node as a process: exit codes, signals, and one listening socket shared by two of them."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from notifiws.stack.ports import free_port
from notifiws.stack.valkey import ValkeyServer
from tests.client import Client
from tests.publishing import Publisher, ids

_COMMAND = [sys.executable, "-m", "notifiws.cli.app", "ws"]


@contextlib.contextmanager
def process(port: int, *, fds: tuple[int, ...] = (), **settings: str) -> Iterator[subprocess.Popen[str]]:
    env = {**os.environ, "NOTIFIWS_PORT": str(port), **settings}
    running = subprocess.Popen(
        _COMMAND, env=env, pass_fds=fds, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


def ended(**settings: str) -> tuple[int, str]:
    with process(free_port(), **settings) as running:
        _, said = running.communicate(timeout=30)
        return running.returncode, said


def get(port: int, path: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
    except OSError:
        return 0, None


async def ready(port: int, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while (await asyncio.to_thread(get, port, "/readyz"))[0] != 200:
        assert time.monotonic() < until
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "REDIS_URL"),
        ({"REDIS_URL": "http://x"}, "REDIS_URL"),
        ({"REDIS_URL": "redis://h:1/0?cluster=true"}, "unsupported"),
        ({"REDIS_URL": "redis://h", "NOTIFIWS_AUTH": "jwt"}, "unsupported in this release"),
        ({"REDIS_URL": "redis://h", "NOTIFIWS_JWT_SECRET": "s" * 32}, "NOTIFIWS_JWT_SECRET: set, and NOTIFIWS_AUTH"),
        ({"REDIS_URL": "redis://h", "NOTIFIWS_JWT_AUDIENCE": "shop"}, "unsupported in this release"),
        ({"REDIS_URL": "redis://h", "NOTIFIWS_COOKIE": "session"}, "NOTIFIWS_AUTH=none"),
        ({"REDIS_URL": "redis://h", "NOTIFIWS_HOST": "0.0.0.0"}, "NOTIFIWS_AUTH=none"),
        ({"REDIS_URL": "redis://h", "NOTIFIWS_TRUSTED_PROXIES": "10.0.0.0/8,proxy"}, "NOTIFIWS_TRUSTED_PROXIES"),
        ({"REDIS_URL": "redis://h", "NOTIFIWS_DRAIN_SECONDS": "soon"}, "NOTIFIWS_DRAIN_SECONDS"),
    ],
)
def test_bad_settings_end_with_2(settings: dict[str, str], said: str) -> None:
    code, text = ended(**settings)
    assert code == 2
    assert said in text
    assert "Traceback" not in text


def test_a_port_in_use_ends_with_7() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with process(taken.getsockname()[1], REDIS_URL="redis://127.0.0.1:1") as running:
            _, said = running.communicate(timeout=30)
        assert running.returncode == 7
        assert "in use" in said
        assert "Traceback" not in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_ends_with_0(
    valkey: ValkeyServer, publisher: Publisher, number: signal.Signals
) -> None:
    port = free_port()
    with process(port, REDIS_URL=valkey.url, NOTIFIWS_DRAIN_SECONDS="4") as running:
        await ready(port)
        async with Client(f"ws://127.0.0.1:{port}", "sales") as client:
            await publisher.publish("sales")
            await client.received(1)
            begun = time.monotonic()
            running.send_signal(number)
            code = await asyncio.to_thread(running.wait, 10)
            assert code == 0
            assert time.monotonic() - begun < 4
            await client.wait(lambda: client.closes)
            assert client.closes[0] == 1012


async def test_a_signal_while_redis_is_away_ends_with_0() -> None:
    port = free_port()
    with process(port, REDIS_URL="redis://127.0.0.1:1", NOTIFIWS_DRAIN_SECONDS="3") as running:
        until = time.monotonic() + 20
        while (await asyncio.to_thread(get, port, "/healthz"))[0] != 200:
            assert time.monotonic() < until
            await asyncio.sleep(0.05)
        status, body = await asyncio.to_thread(get, port, "/readyz")
        assert status == 503
        assert "redis" in [reason["code"] for reason in body["reasons"]]
        running.terminate()
        assert await asyncio.to_thread(running.wait, 10) == 0


async def test_a_storm_of_cuts_under_the_real_loop(valkey: ValkeyServer, publisher: Publisher) -> None:
    """Cancellations that meet a driver's finished send: the node must not wait for ever for a task that goes on."""
    port = free_port()
    async with Redis.from_url(valkey.url) as other:
        publisher.client = other
        with process(port, REDIS_URL=valkey.url, NOTIFIWS_DRAIN_SECONDS="5") as running:
            await ready(port)
            async with Client(f"ws://127.0.0.1:{port}", "sales") as client:
                for number in range(120):
                    await publisher.publish("sales", 3)
                    valkey.command("CLIENT", "KILL", "TYPE", ("pubsub", "normal")[number % 2])
                    await asyncio.sleep(0.02)
                await client.received(360, 20)
                assert ids(client.events) == publisher.sent["sales"]
                assert not client.faults and not client.resets
                await ready(port)
                running.terminate()
                assert await asyncio.to_thread(running.wait, 10) == 0


async def test_a_broken_probe_connection_is_made_again(valkey: ValkeyServer, publisher: Publisher) -> None:
    """Only the connections for commands break: the next probe fails, and the node is deaf for a moment at most."""
    port = free_port()
    with process(port, REDIS_URL=valkey.url) as running:
        await ready(port)
        async with Client(f"ws://127.0.0.1:{port}", "sales") as client:
            for number in range(1, 4):
                valkey.command("CLIENT", "KILL", "TYPE", "normal")
                await asyncio.sleep(2.3)  # longer than from one probe to the next
                async with Redis.from_url(valkey.url) as other:
                    publisher.client = other
                    await publisher.publish("sales")
                await client.received(number, 5)
            await ready(port, 5)
        assert running.poll() is None


async def test_two_nodes_share_a_socket_and_one_dies(valkey: ValkeyServer, publisher: Publisher) -> None:
    shared = socket.create_server(("127.0.0.1", 0))
    shared.set_inheritable(True)
    number = shared.fileno()
    port = shared.getsockname()[1]
    settings = {"REDIS_URL": valkey.url, "NOTIFIWS_SHARED_FD": str(number)}
    ports = [free_port(), free_port()]
    with process(ports[0], fds=(number,), **settings) as one, process(ports[1], fds=(number,), **settings) as two:
        for each in ports:
            await ready(each)
        clients = [Client(f"ws://127.0.0.1:{port}", "sales") for _ in range(12)]
        for client in clients:
            await client.__aenter__()
        await publisher.publish("sales", 3)
        one.kill()
        for _ in range(50):
            await publisher.publish("sales", 2)
        two.send_signal(signal.SIGSTOP)
        two.send_signal(signal.SIGCONT)
        for client in clients:
            await client.received(103)
            assert ids(client.events) == publisher.sent["sales"]
            assert not client.faults and not client.resets
            await client.__aexit__()
    shared.close()


def test_without_a_port_of_its_own_the_next_free_one_is_taken_and_said() -> None:
    """Two nodes started alike, as one would in two terminals: neither is refused for the other."""
    env = os.environ | {"REDIS_URL": "redis://127.0.0.1:1"}
    ports = []
    with contextlib.ExitStack() as running:
        for _ in range(2):
            node = subprocess.Popen(_COMMAND, env=env, stderr=subprocess.PIPE, text=True)
            running.callback(node.communicate)
            running.callback(node.kill)
            assert node.stderr is not None
            said = []
            while not said or said[-1]["message"] != "listening":
                said.append(json.loads(node.stderr.readline()))
            ports.append(said[-1]["port"])
    assert "taking the next free one" in said[0]["message"]
    assert ports[0] < ports[1]
