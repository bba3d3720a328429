"""The command line's manners: quick help, exit codes, errors that say their mend."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from importlib import metadata
from pathlib import Path

import pytest

from notifiws.stack.ports import free_port

NOTIFIWS = Path(sys.executable).with_name("notifiws")


def run(*arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(NOTIFIWS), *arguments], env={**os.environ, **env}, capture_output=True, text=True, timeout=30, check=False
    )


def test_help_names_the_commands_and_hides_the_hidden() -> None:
    helped = run("--help", COLUMNS="200")
    assert helped.returncode == 0
    for command in ("up", "status", "down", "listener", "ws", "healthcheck"):
        assert f" {command} " in helped.stdout
    assert "demo-sales" not in helped.stdout


def test_help_imports_no_driver() -> None:
    code = (
        "import sys; from notifiws.cli.app import build; build()\n"
        "heavy = {'asyncpg', 'redis', 'fastapi', 'uvicorn', 'pydantic', 'httpx', 'rich'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_version() -> None:
    assert run("--version").stdout.strip() == metadata.version("notifiws")


@pytest.mark.parametrize(
    "arguments", [("no-such-command",), ("up", "--port", "none"), ("up", "--port", "70000"), ("up", "--nodes", "0"), ()]
)
def test_usage_errors_are_2(arguments: tuple[str, ...]) -> None:
    wrong = run(*arguments)
    assert wrong.returncode == 2
    assert "Usage: notifiws" in wrong.stderr + wrong.stdout


def test_status_and_down_without_a_stack_are_3(tmp_path: Path) -> None:
    as_json = run("status", "--json", "--data-dir", str(tmp_path))
    assert (as_json.returncode, as_json.stdout, as_json.stderr) == (3, '{"state": "stopped"}\n', "")
    for command in ("status", "down"):
        missing = run(command, "--data-dir", str(tmp_path / "none"))
        assert (missing.returncode, missing.stdout) == (3, "")
        assert missing.stderr == f"error: no stack runs in {tmp_path / 'none'}\nfix: notifiws up\n"
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("command", ["listener", "ws", "healthcheck", "up"])
def test_a_bad_setting_is_2_and_named(command: str, tmp_path: Path) -> None:
    extra = ["--data-dir", str(tmp_path)] if command == "up" else []
    wrong = run(command, *extra, NOTIFIWS_HISTORY_BYTES="many")
    assert wrong.returncode == 2, wrong.stderr
    assert "NOTIFIWS_HISTORY_BYTES: read 'many'" in wrong.stderr


@contextlib.asynccontextmanager
async def answering(status: bytes, body: bytes) -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        assert request.startswith(b"GET /readyz ")
        writer.write(b"HTTP/1.1 %b\r\n\r\n%b" % (status, body))
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(("option", "setting"), [((), "NOTIFIWS_PORT"), (("--listener",), "NOTIFIWS_LISTENER_PORT")])
async def test_healthcheck(option: tuple[str, ...], setting: str) -> None:
    async with answering(b"200 OK", b'{"ready": true}') as port:
        well = await asyncio.to_thread(run, "healthcheck", *option, **{setting: str(port)})
        assert (well.returncode, well.stdout, well.stderr) == (0, "", "")
    reasons = b'{"ready": false, "reasons": [{"code": "redis", "message": "Redis is away"}]}'
    async with answering(b"503 Service Unavailable", reasons) as port:
        ill = await asyncio.to_thread(run, "healthcheck", *option, **{setting: str(port)})
        part = "listener" if option else "ws"
        assert (ill.returncode, ill.stderr) == (
            1,
            "error: not ready: redis: Redis is away\n"
            f"fix: `notifiws {part}` has to run here with the same NOTIFIWS_HOST and {setting}; "
            "its log says what it waits for\n",
        )
    away = await asyncio.to_thread(run, "healthcheck", *option, **{setting: str(free_port())})
    assert away.returncode == 1
    assert "unreachable" in away.stderr
    assert "\nfix: " in away.stderr


def test_ctrl_c_is_clean(tmp_path: Path) -> None:
    # Nothing listens at the far end: the command waits in its own loop.
    waiting = subprocess.Popen(
        [str(NOTIFIWS), "demo-sales"],
        env={**os.environ, "DATABASE_URL": f"postgresql://nobody@127.0.0.1:{free_port()}/none"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    status = Path(f"/proc/{waiting.pid}/status")
    deadline = time.monotonic() + 20
    # Until it has put its own handler for SIGINT and SIGTERM in place.
    while not int(_field(status, "SigCgt"), 16) & 1 << (signal.SIGTERM - 1):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    waiting.send_signal(signal.SIGINT)
    said, _ = waiting.communicate(timeout=20)
    assert (waiting.returncode, said) == (0, b"")


def _field(status: Path, name: str) -> str:
    return next(line.split()[1] for line in status.read_text().splitlines() if line.startswith(f"{name}:"))


@pytest.mark.parametrize(
    "arguments", [("token", "create", "--sub", "s"), ("gen", "types", "--lang", "python"), ("bench",)]
)
def test_what_is_not_built_yet_says_so(arguments: tuple[str, ...]) -> None:
    ended = run(*arguments)
    assert ended.returncode == 1
    assert f"unsupported: {arguments[0]} is not built yet" in ended.stderr
