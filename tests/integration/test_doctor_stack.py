"""`notifiws doctor` from the command line: on a healthy stack, with a part that is ill, and what it never prints."""

import asyncio
import json
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from notifiws.stack.ports import free_port
from tests.doctor import doctor
from tests.stack import NOTIFIWS, Stack, environment

Healthy = tuple["subprocess.CompletedProcess[str]", "subprocess.CompletedProcess[str]"]
# `none` on loopback, and nodes that read as the owner: what `up` chooses for one's own machine.
CHOSEN = {"auth_none", "reader_is_owner"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("stack"), nodes=1) as stack:
        yield stack


def run(*arguments: str, code: int, cwd: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    ran = subprocess.run(
        [str(NOTIFIWS), "doctor", *arguments], cwd=cwd, env=environment() | settings, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == code, f"{ran.returncode}: {ran.stdout}{ran.stderr}"
    assert "Traceback" not in ran.stderr
    return ran


def codes(ran: "subprocess.CompletedProcess[str]", severity: str = "") -> set[str]:
    findings = json.loads(ran.stdout)["findings"]
    return {finding["code"] for finding in findings if finding["severity"] == severity or not severity}


def passwords(stack: Stack) -> list[str]:
    urls = (stack.ready["database_url"], stack.ready["redis_url"])
    return [password for url in urls if (password := urlsplit(url).password)] + list(urls)


@pytest.fixture(scope="module")
def healthy(stack: Stack) -> Healthy:
    """Asked once as JSON and once for people."""
    return stack.run("doctor", "--json"), stack.run("doctor")


def test_a_healthy_stack_has_no_error(healthy: Healthy) -> None:
    ran, _ = healthy
    report = json.loads(ran.stdout)
    assert codes(ran) <= CHOSEN, ran.stdout
    assert (report["ok"], report["exit_code"], ran.stderr) == (True, 0, "")
    assert report["unchecked"] == []
    subjects = {each["subject"] for each in report["checked"]}
    assert {"postgres", "schema", "watches", "log", "redis", "listener", "node 1", "settings"} == subjects
    for finding in report["findings"]:
        assert set(finding) == {"code", "severity", "area", "what", "why", "fix"}


def test_for_people_it_says_what_was_checked(healthy: Healthy) -> None:
    said = healthy[1].stdout
    assert "PostgreSQL 18" in said
    assert "Valkey" in said
    assert said.rstrip().endswith(("nothing found", "warning", "warnings"))


def test_no_password_is_ever_printed(stack: Stack, healthy: Healthy, tmp_path: Path) -> None:
    for ran in healthy:
        for secret in passwords(stack):
            assert secret not in ran.stdout + ran.stderr
    # Refused, they are in the driver's hands as well.
    canary = "CanarYs3cret"
    ran = run(
        "--json",
        code=4,
        cwd=tmp_path,
        DATABASE_URL=stack.ready["database_url"].replace("notifiws_owner:", f"notifiws_owner:{canary}"),
        REDIS_URL=stack.ready["redis_url"].replace("redis://:", f"redis://:{canary}"),
        NOTIFIWS_READER_DATABASE_URL=f"postgresql://me:{canary}@127.0.0.1:1/d?sslpassword={canary}",
    )
    assert {"postgres_away", "redis_away"} <= codes(ran)
    assert canary not in ran.stdout + ran.stderr


def test_a_frozen_node_is_found(stack: Stack) -> None:
    pid = stack.status["nodes"][0]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        ran = stack.run("doctor", "--json", code=1)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert codes(ran, "error") == {"service_not_ready"}
    assert "node 1 is not ready" in ran.stdout


def test_services_by_url(stack: Stack, tmp_path: Path) -> None:
    node = stack.http_url(0)
    ran = run("--json", "--service", node, "--service", f"http://127.0.0.1:{free_port()}", code=1, cwd=tmp_path)
    assert codes(ran, "error") == {"service_not_ready"}
    assert codes(ran, "warning") == {"auth_none"}


async def test_what_it_says_of_the_customers_trigger_can_be_typed(stack: Stack) -> None:
    url = stack.ready["database_url"]
    pg = await stack.pg()
    try:
        await pg.execute(
            'create table "Ventas Ñ" (id serial primary key, total numeric);'
            "create function notify_sale() returns trigger language plpgsql as $$ begin "
            "perform pg_notify('Sales Channel', row_to_json(new)::text); return new; end $$;"
            'create trigger sold after insert on "Ventas Ñ" for each row execute function notify_sale()'
        )
        _, adopt = (await doctor(url))["notify_trigger"].fix.split(", or, as it is: ")
        await asyncio.to_thread(stack.run, *shlex.split(adopt)[1:])
        watch, _, leave = (await doctor(url))["notify_trigger"].fix.partition("; then drop the trigger and ")
        await asyncio.to_thread(stack.run, *shlex.split(watch)[1:])
        assert (await doctor(url))["adopted_and_watched"].fix == leave
        await pg.execute('drop trigger sold on "Ventas Ñ"')
        await asyncio.to_thread(stack.run, *shlex.split(leave)[1:])
        assert await pg.fetchval("select channel || ' ' || events::text from notifiws.watches") == "sales {insert}"
        assert not {"notify_trigger", "adopted_and_watched"} & (await doctor(url)).codes
    finally:
        await pg.close()
