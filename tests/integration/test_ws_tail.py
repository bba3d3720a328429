"""`notifiws tail` against real nodes: every event once, through a node's end, as exact bytes."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from notifiws.stack.ports import free_port
from notifiws.stack.valkey import ValkeyServer
from tests.nodes import running_node
from tests.publishing import Publisher, event


@asynccontextmanager
async def tail(url: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "notifiws.cli.app", "tail", "sales", "--url", url, *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=dict(os.environ),
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout
    return (await asyncio.wait_for(process.stdout.readline(), 20)).decode().rstrip("\n")


async def test_follows_resumes_and_keeps_every_byte(valkey: ValkeyServer, publisher: Publisher) -> None:
    port = free_port()
    new = '{"n": 123456789012345678901234567890.10, "t": "ñ\\n"}'
    # A value of type json keeps its line ends, which make no line of their own here.
    lines = '{"j":{"a":\r\n{"id":9,"op":"delete"}\n}}'
    await publisher.publish("sales", [event(1, new=new), event(2, new=lines)])
    async with tail(f"http://127.0.0.1:{port}", "--json", "--since", "10m") as process:
        async with running_node(valkey.url, port=port):
            first = await line(process)
            assert f'"new":{new},' in first
            assert first.endswith(',"channel":"sales","position":"e1:1-1"}')
            second = json.loads(await line(process))
            assert (second["position"], second["new"]) == ("e1:1-2", json.loads(lines))
        await publisher.publish("sales", 2)
        async with running_node(valkey.url, port=port):
            await publisher.publish("sales", 1)
            assert [json.loads(await line(process))["id"] for _ in range(3)] == [3, 4, 5]
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_for_people(valkey: ValkeyServer, publisher: Publisher) -> None:
    await publisher.publish(
        "sales", [event(1), event(2, op="emit", payload='{"a":\n 1}'), event(3, op="delete", new=None)]
    )
    async with running_node(valkey.url) as node, tail(node.ws, "--since", "e1:0-0") as process:
        assert await line(process) == '10:00:00.000 insert public.t {"id":1,"pad":""}'
        assert await line(process) == '10:00:00.000 emit {"a":  1}'
        assert await line(process) == '10:00:00.000 delete public.t {"id":3}'
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_a_reader_that_leaves_ends_it_quietly(valkey: ValkeyServer, publisher: Publisher) -> None:
    async with running_node(valkey.url) as node:
        process = await asyncio.create_subprocess_shell(
            f"{sys.executable} -m notifiws.cli.app tail sales --url {node.url} --since e1:0-0"
            " | head -n 1; echo ${PIPESTATUS[0]}",
            executable="/bin/bash", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        await publisher.publish("sales", 1)
        assert await line(process)
        for _ in range(20):
            await publisher.publish("sales", 1)
            await asyncio.sleep(0.05)
        output, said = await asyncio.wait_for(process.communicate(), 20)
        assert output.strip() == b"0"
        assert b"Traceback" not in said


async def test_what_is_hopeless_ends_with_1(valkey: ValkeyServer, publisher: Publisher) -> None:
    async with running_node(valkey.url) as node, tail(node.url + "/nothing") as process:
        _, said = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 1
        assert b"fix:" in said and b"Traceback" not in said
