"""`notifiws up` as a process: real Postgres and Valkey, stub services. What is about the services is in acceptance."""

import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import asyncpg
import psutil
import pytest

from notifiws.stack.ports import free_port
from notifiws.stack.process import Account, alive

STUB = Path(__file__).parents[1] / "stub_stack.py"


class Up:
    """One `up` with stub services, in a directory of its own."""

    def __init__(self, folder: Path, *arguments: str, **env: str) -> None:
        self.data = folder / "data"
        self.folder = folder
        self.log = folder / "up.log"
        self.env = {**os.environ, **env}
        self.command = [sys.executable, str(STUB), "up", "--data-dir", str(self.data), *arguments]
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, env=self.env, stdout=log, stderr=log, start_new_session=True
            )
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        self.process.kill()
        self.process.wait()

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, str(STUB), *arguments, "--data-dir", str(self.data)],
            cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    @property
    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return status

    def until(self, condition: Callable[[dict[str, Any]], Any], seconds: float = 30) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while True:
            status = self.status
            if condition(status):
                return status
            assert self.process
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, f"{status}\n{self.said}"
            time.sleep(0.05)

    def ready(self) -> dict[str, Any]:
        return self.until(lambda status: status["state"] == "ready")

    @property
    def said(self) -> str:
        return self.log.read_text()

    def family(self) -> list[int]:
        assert self.process
        return [child.pid for child in psutil.Process(self.process.pid).children(recursive=True)]


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="notifiws-test-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def gone(pids: list[int], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while any(alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_life_of_a_stack(folder: Path) -> None:
    with Up(folder, "--port", str(port := free_port()), "--nodes", "3") as up:
        status = up.ready()
        assert up.process
        assert status["pid"] == up.process.pid
        assert status["url"] == f"http://127.0.0.1:{port}"
        assert status["ws_url"] == f"ws://127.0.0.1:{port}"
        assert status["data_dir"] == str(folder / "data")
        assert len(status["nodes"]) == 3
        assert status["listeners"] == [status["listener"]]
        assert status["listener"]["leader"] is True
        assert status["demo"]["pid"]
        assert {"state", "version", "epoch", "lag_seconds", "database_url", "redis_url"} <= status.keys()
        assert json.load(urllib.request.urlopen(status["url"] + "/readyz"))["ready"]
        assert all(json.load(urllib.request.urlopen(n["url"] + "/readyz"))["pid"] == n["pid"] for n in status["nodes"])
        people = up.run("status")
        assert people.returncode == 0
        assert status["database_url"] in people.stdout
        family = up.family()
        down = up.run("down")
        assert (down.returncode, down.stderr) == (0, "")
        assert up.process.wait(1) == 0
        assert not any(alive(pid) for pid in family)
        assert up.status == {"state": "stopped"}
        assert up.run("status", "--json").returncode == 3
        again = up.run("down")
        assert again.returncode == 3
        assert "error: no stack runs in" in again.stderr
        assert "fix: notifiws up" in again.stderr
    # The table of URLs is data, everything else is talk; after it, only what happens is said.
    assert "websocket" in up.said
    assert up.said.rstrip().endswith("stopping")


async def test_data_and_urls_stay_over_a_restart(folder: Path) -> None:
    with Up(folder) as up:
        first = up.ready()
        connection = await asyncpg.connect(first["database_url"])
        await connection.execute("create table kept (a int); insert into kept values (7)")
        await connection.close()
    with Up(folder) as up:
        second = up.ready()
        assert second["database_url"] == first["database_url"]
        assert second["redis_url"] == first["redis_url"]
        assert second["nodes"][0]["url"] == first["nodes"][0]["url"]
        connection = await asyncpg.connect(second["database_url"])
        assert await connection.fetchval("select a from kept") == 7
        await connection.close()


def test_kill_9_of_the_parent_leaves_no_process_and_the_next_up_starts(folder: Path) -> None:
    with Up(folder) as up:
        up.ready()
        family = up.family()
        assert len(family) > 6
        assert up.process
        up.process.kill()
        up.process.wait()
        assert up.status == {"state": "stopped"}
        # At once: what the kernel is still ending must not be in the way.
        with Up(folder) as second:
            second.ready()
            assert gone(family)


def test_kill_9_of_make_stops_the_stack(folder: Path) -> None:
    up = Up(folder)
    (folder / "Makefile").write_text(f"up:\n\t@exec {' '.join(up.command)}\n")
    make = subprocess.Popen(["make", "-C", str(folder), "up"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while up.status["state"] != "ready":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    family = [child.pid for child in psutil.Process(make.pid).children(recursive=True)]
    make.kill()
    make.wait()
    assert gone(family, 20)
    assert up.status == {"state": "stopped"}


@pytest.mark.parametrize("part", ["postgres", "valkey", "listener", "node", "demo"])
def test_a_killed_part_comes_back_with_a_new_pid_and_the_same_url(folder: Path, part: str) -> None:
    with Up(folder) as up:
        first = up.ready()
        of = (lambda status: status["nodes"][0]) if part == "node" else (lambda status: status[part])
        os.kill(of(first)["pid"], signal.SIGKILL)
        second = up.until(lambda s: of(s)["pid"] not in (None, of(first)["pid"]) and s["state"] == "ready")
        assert of(second).get("url") == of(first).get("url")
        assert second["database_url"] == first["database_url"]
        others = [first[name]["pid"] for name in ("postgres", "valkey", "listener", "demo") if name != part]
        assert all(alive(pid) for pid in others)
        assert up.said.count("was ended by SIGKILL; starting it again") == 1


async def test_postgres_killed_under_load_serves_again(folder: Path) -> None:
    with Up(folder, "--no-demo") as up:
        first = up.ready()
        connections = [await asyncpg.connect(first["database_url"]) for _ in range(5)]
        os.kill(first["postgres"]["pid"], signal.SIGKILL)
        for connection in connections:
            connection.terminate()
        deadline = time.monotonic() + 20
        while True:
            try:
                connection = await asyncpg.connect(first["database_url"], timeout=2)
                break
            except (OSError, asyncpg.PostgresError, TimeoutError):
                assert time.monotonic() < deadline
        assert await connection.fetchval("select 1") == 1
        await connection.close()


def test_a_frozen_part_is_started_again(folder: Path) -> None:
    with Up(folder, "--no-demo", STUB_SILENCE="3") as up:
        first = up.ready()
        os.kill(first["listener"]["pid"], signal.SIGSTOP)
        up.until(lambda status: status["state"] == "degraded")
        up.until(lambda s: s["state"] == "ready" and s["listener"]["pid"] != first["listener"]["pid"])
        assert "listener has not answered for" in up.said


def test_status_is_fast_when_parts_do_not_answer(folder: Path) -> None:
    with Up(folder, "--no-demo") as up:
        status = up.ready()
        for service in (status["listener"], *status["nodes"]):
            os.kill(service["pid"], signal.SIGSTOP)
        try:
            degraded = up.status
            assert degraded["state"] == "degraded"
            assert degraded["listener"]["reasons"][0]["code"] == "unreachable"
        finally:
            for service in (status["listener"], *status["nodes"]):
                os.kill(service["pid"], signal.SIGCONT)


def test_a_dead_node_loses_no_connection_of_the_shared_url(folder: Path) -> None:
    with Up(folder, "--no-demo") as up:
        status = up.ready()
        os.kill(status["nodes"][0]["pid"], signal.SIGKILL)
        answers = {json.load(urllib.request.urlopen(status["url"] + "/readyz", timeout=10))["pid"] for _ in range(50)}
        assert answers


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes users")
def test_as_an_ordinary_user(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    up = Up(folder, "--no-demo")
    # The interpreter of this suite may lie behind a closed folder.
    up.command = Account(nobody.pw_uid, nobody.pw_gid, override=True).command(up.command)
    with up:
        up.ready()
        family = up.family()
        assert {psutil.Process(pid).uids().effective for pid in family} == {nobody.pw_uid}
        assert up.process
        up.process.kill()
        up.process.wait()
        assert gone(family)


def test_a_second_up_in_the_same_directory_is_refused(folder: Path) -> None:
    with Up(folder) as up:
        status = up.ready()
        second = up.run("up")
        assert second.returncode == 7
        assert f"error: another notifiws up holds {folder / 'data'} (pid {status['pid']})" in second.stderr
        assert f"fix: notifiws down --data-dir {folder / 'data'}" in second.stderr
        assert up.status["state"] == "ready"


def test_two_stacks_run_side_by_side(folder: Path) -> None:
    for name in "ab":
        (folder / name).mkdir()
    with Up(folder / "a") as first, Up(folder / "b") as second:
        a, b = first.ready(), second.ready()
        assert a["url"] != b["url"]
        assert a["database_url"] != b["database_url"]
        os.kill(a["pid"], signal.SIGTERM)
        assert first.process
        assert first.process.wait(20) == 0
        assert second.status["state"] == "ready"


def test_a_given_port_in_use_is_refused(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = Up(folder).run("up", "--port", str(port))
        assert refused.returncode == 7
        assert f"error: cannot listen on 127.0.0.1:{port}: Address already in use" in refused.stderr
        assert "fix: give another --port" in refused.stderr


def test_without_a_given_port_the_next_free_one_is_taken_and_said(folder: Path) -> None:
    with contextlib.ExitStack() as stack:
        taken = stack.enter_context(socket.socket())
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Somebody else may have it already: then it is in use all the same.
        with contextlib.suppress(OSError):
            taken.bind(("127.0.0.1", 8000))
            taken.listen()
        with Up(folder, "--no-demo") as up:
            port = int(up.ready()["url"].rpartition(":")[2])
            assert port > 8000
            assert f"port 8000 is in use; taking {port}" in up.said


def test_a_part_that_can_never_start_ends_the_start(folder: Path) -> None:
    with Up(folder, STUB_EXIT="2") as up:
        assert up.process
        assert up.process.wait(30) == 2
        assert "error: listener does not start" in up.said
        assert "stub: a wrong setting" in up.said


def test_a_part_that_is_not_ready_is_shown_and_the_rest_runs(folder: Path) -> None:
    with Up(folder, "--no-demo", STUB_READY="no") as up:
        status = up.until(lambda s: s.get("nodes") and s["nodes"][0]["reasons"][:1] == [
            {"code": "redis", "message": "stubbornly unready"}])  # fmt: skip
        assert status["state"] == "starting"
        assert status["nodes"][0]["ready"] is False


def test_a_second_ctrl_c_does_not_wait(folder: Path) -> None:
    with Up(folder, "--no-demo", STUB_DEAF="yes") as up:
        up.ready()
        assert up.process
        family = up.family()
        up.process.send_signal(signal.SIGINT)
        up.until(lambda s: s["state"] == "stopping")
        time.sleep(1.1)  # within a second it counts as the same one: make passes on what the terminal sent to all
        up.process.send_signal(signal.SIGINT)
        assert up.process.wait(5) == 0
        assert gone(family)


async def test_an_own_database_and_redis_are_used_and_not_started(
    folder: Path, empty_database: Any, valkey: Any
) -> None:
    with Up(folder, DATABASE_URL=empty_database.url, REDIS_URL=valkey.url) as up:
        status = up.ready()
        assert status["database_url"] == empty_database.url
        assert status["redis_url"] == valkey.url
        # The demo is for the embedded database only, unless it is asked for.
        assert not {"postgres", "valkey", "demo"} & status.keys()
        assert not (folder / "data" / "postgres").exists()


def test_an_own_database_that_is_away_is_4(folder: Path) -> None:
    away = f"postgresql://nobody:secret@127.0.0.1:{free_port()}/none"
    refused = subprocess.run(
        [str(Path(sys.executable).with_name("notifiws")), "up", "--data-dir", str(folder / "data")],
        env={**os.environ, "DATABASE_URL": away}, cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert refused.returncode == 4
    assert "error: Postgres does not answer" in refused.stderr
    assert "fix: start it or correct DATABASE_URL" in refused.stderr
    assert "secret" not in refused.stderr
    assert not (folder / "data" / "state.json").exists()


def test_settings_that_open_the_stack_to_everybody_are_refused(folder: Path) -> None:
    refused = Up(folder, NOTIFIWS_HOST="0.0.0.0").run("up")
    assert refused.returncode == 2
    assert "NOTIFIWS_AUTH=none" in refused.stderr


def test_settings_of_tokens_without_auth_are_refused(folder: Path) -> None:
    for setting in ({"NOTIFIWS_JWT_SECRET": "s" * 32}, {"NOTIFIWS_COOKIE": "session"}, {"NOTIFIWS_AUTH": "jwt"}):
        refused = Up(folder, **setting).run("up")
        assert refused.returncode == 2
        assert "unsupported in this release" in refused.stderr
        assert "s" * 32 not in refused.stderr


def test_a_setting_that_does_not_parse(folder: Path) -> None:
    refused = Up(folder, NOTIFIWS_RETENTION="soon").run("up")
    assert refused.returncode == 2
    assert "NOTIFIWS_RETENTION: read 'soon'" in refused.stderr
