"""What compose.yaml mounts and builds: the balancer's and Valkey's settings, the secrets, the image's recipe."""

import asyncio
import contextlib
import http.server
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from notifiws.stack.postgres import PostgresServer, binaries
from tests.system import require_tool

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
HAPROXY = (DEPLOY / "haproxy.cfg").read_text(encoding="utf-8")
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")


# -- HAProxy ----------------------------------------------------------------------------------------------------------


def test_haproxy_accepts_its_settings_without_a_warning() -> None:
    haproxy = require_tool("haproxy")
    ran = subprocess.run(
        [haproxy, "-c", "-f", str(DEPLOY / "haproxy.cfg")], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "WARNING" not in ran.stderr, ran.stderr


@pytest.mark.parametrize(
    "line",
    [
        "balance leastconn",
        "option httpchk GET /readyz",
        "http-check expect status 200",
        "init-addr none",
        "nameserver dns 127.0.0.11:53",
        "option redispatch",
        "timeout http-request",
        "timeout tunnel",
        "hard-stop-after",
    ],
)
def test_haproxy_keeps_to(line: str) -> None:
    assert re.search(rf"^\s+.*{re.escape(line)}", HAPROXY, re.MULTILINE)


def test_haproxy_logs_no_query() -> None:
    formats = re.findall(r"log-format (.*)", HAPROXY)
    assert formats
    assert all("%HP" in line and not re.search(r"%(r|HU|HQ|HPO)\b", line) for line in formats), "tickets are in queries"
    assert "option httplog" not in HAPROXY


class _Node(http.server.BaseHTTPRequestHandler):
    """Stands for a node: ready, and answering everything with what it was asked and told."""

    def do_GET(self) -> None:
        body = json.dumps({"path": self.path, "headers": dict(self.headers)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """HAProxy with our settings in front of one node; only the addresses are this test's."""
    haproxy = require_tool("haproxy")
    node = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Node)
    threading.Thread(target=node.serve_forever, daemon=True).start()
    port, health = _free_port(), _free_port()
    settings = HAPROXY.replace("bind :8000", f"bind 127.0.0.1:{port}").replace("127.0.0.1:8404", f"127.0.0.1:{health}")
    settings = settings.replace("server-template ws 20 ws:8000", f"server ws1 127.0.0.1:{node.server_address[1]}")
    settings = re.sub(r"maxconn 30000", "maxconn 500", settings)
    file = tmp_path_factory.mktemp("edge") / "haproxy.cfg"
    file.write_text(settings, encoding="utf-8")
    process = subprocess.Popen([haproxy, "-db", "-f", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _until_healthy(f"http://127.0.0.1:{health}/healthz")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
        node.shutdown()
        node.server_close()


def _until_healthy(url: str) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=1).close()
            return
        time.sleep(0.05)
    raise AssertionError("the balancer found no ready node")


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/healthz", 200),
        ("/ws", 200),
        ("/ws/stock:7", 200),
        ("/ws/stock%3A7?format=event", 200),
        ("/sse/sales?since=a:1-2", 200),
        ("/channels", 200),
        ("/channels/sales/events?limit=3", 200),
        ("/channels/sales/snapshot", 200),
        ("/tickets", 200),
        ("/asyncapi.json", 200),
        ("/readyz", 404),
        ("/readyz/", 404),
        ("/metrics", 404),
        ("/metrics?x=/ws", 404),
        ("/%6detrics", 404),
        ("//metrics", 404),
        ("/ws/../metrics", 404),
        ("/ws/%2e%2e/metrics", 404),
        ("/docs", 404),
        ("/redoc", 404),
        ("/openapi.json", 404),
        ("/docs/oauth2-redirect", 404),
    ],
)
def test_the_edge_opens_what_is_public_and_nothing_else(edge: str, path: str, status: int) -> None:
    assert _status(edge + path) == status


def test_the_edge_replaces_what_a_client_says_of_its_address(edge: str) -> None:
    request = urllib.request.Request(
        f"{edge}/channels", headers={"X-Forwarded-For": "10.9.8.7", "Forwarded": "for=10.9.8.7"}
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        told = {name.lower(): value for name, value in json.load(answer)["headers"].items()}
    assert told["x-forwarded-for"] == "127.0.0.1"
    assert "forwarded" not in told


def test_the_edge_refuses_in_the_contracts_words(edge: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{edge}/metrics", timeout=5)
    with refused.value as answer:
        assert set(json.load(answer)["error"]) == {"code", "message", "fix"}


# -- Valkey and the secrets -------------------------------------------------------------------------------------------


def test_valkey_keeps_everything_or_says_no() -> None:
    settings = dict(
        line.split(" ", 1)
        for line in (DEPLOY / "valkey.conf").read_text(encoding="utf-8").splitlines()
        if line[:1] not in "#"
    )
    assert settings["appendonly"] == "yes"
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["maxmemory"]
    assert settings["aclfile"] == "/run/secrets/redis_acl"


def _make_secrets(root: Path) -> dict[str, str]:
    (root / "deploy").mkdir(exist_ok=True)
    script = shutil.copy(DEPLOY / "make-secrets", root / "deploy")
    subprocess.run([script], check=True, capture_output=True)
    return {file.name: file.read_text(encoding="ascii") for file in (root / "deploy/secrets").iterdir()}


def test_secrets_are_made_once_and_closed(tmp_path: Path) -> None:
    first = _make_secrets(tmp_path)
    assert set(first) == {
        "postgres_password", "owner_password", "database_url", "redis_password", "redis_acl", "redis_url",
    }  # fmt: skip
    assert _make_secrets(tmp_path) == first, "running it again changed a secret"
    folder = tmp_path / "deploy/secrets"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o444 for file in folder.iterdir())
    assert len({first["postgres_password"], first["owner_password"], first["redis_password"]}) == 3
    assert all(len(first[name]) == 48 for name in ("postgres_password", "owner_password", "redis_password"))
    database, redis = urlsplit(first["database_url"]), urlsplit(first["redis_url"])
    assert (database.hostname, database.password) == ("postgres", first["owner_password"])
    assert (redis.hostname, redis.password) == ("redis", first["redis_password"])
    other = tmp_path / "other"
    other.mkdir()
    assert _make_secrets(other)["redis_url"] != first["redis_url"]


async def test_the_owners_password_is_on_no_command_line(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """The image's script, on a server of ours: under other names, and with a psql that notes its arguments."""
    secret, noted, wrapper = tmp_path / "secret", tmp_path / "arguments", tmp_path / "psql"
    secret.write_text("s3'cr$t\n", encoding="ascii")
    psql = binaries(postgres_server.major) / "psql"
    wrapper.write_text(f'#!/bin/sh\necho "$@" >>{noted}\nexec {psql} "$@"\n', encoding="ascii")
    wrapper.chmod(0o755)
    script = (
        (DEPLOY / "postgres/init.sh").read_text(encoding="utf-8").replace("/run/secrets/owner_password", str(secret))
    )
    script = script.replace("notifiws_owner", "init_owner").replace("DATABASE notifiws", "DATABASE init_notifiws")
    environment = {
        **os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "POSTGRES_USER": "postgres", "PGHOST": "127.0.0.1",
        "PGPORT": str(postgres_server.port), "PGPASSWORD": postgres_server.superuser_password,
    }  # fmt: skip
    done = await asyncio.to_thread(
        subprocess.run, ["bash", "-c", script], env=environment, check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "s3" not in noted.read_text(encoding="utf-8")
    owner = await asyncpg.connect(
        host="127.0.0.1", port=postgres_server.port, user="init_owner", password="s3'cr$t", database="init_notifiws"
    )
    assert await owner.fetchval("select rolcreaterole and not rolsuper from pg_roles where rolname = current_user")
    await owner.close()
    admin = await asyncpg.connect(postgres_server.url_of("postgres", superuser=True))
    await admin.execute("drop database init_notifiws")
    await admin.execute("drop role init_owner")
    await admin.close()


def test_secrets_never_reach_git_or_the_image() -> None:
    ignored = (DEPLOY / "secrets/.gitignore").read_text(encoding="utf-8").splitlines()
    assert ignored == ["*", "!.gitignore"]
    sent = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in sent
    assert not any(line.startswith(("!deploy", "!.")) for line in sent)


# -- The image --------------------------------------------------------------------------------------------------------


def test_the_image_is_built_from_hashes_and_runs_as_nobody() -> None:
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.11-slim-\w+$", DOCKERFILE, re.MULTILINE)
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"${PYTHON_IMAGE}"}
    assert len(re.findall(r"^FROM ", DOCKERFILE, re.MULTILINE)) == 2, "multi-stage"
    for install in re.findall(r"pip install ([^\n\\]*)", DOCKERFILE):
        assert "--require-hashes" in install or "--no-index" in install, install
    assert "--mount" not in DOCKERFILE, "needs BuildKit"
    final = DOCKERFILE.rsplit("\nFROM ", 1)[1]
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", final, re.MULTILINE)
    for word in ("ENTRYPOINT", "CMD", "RUN"):
        assert all(rest.startswith("[") for rest in re.findall(rf"^{word} (.*)", final, re.MULTILINE)), (
            f"{word}: no shell"
        )
    assert 'CMD ["notifiws", "healthcheck"]' in final


def _needed(package: str) -> set[str]:
    """A package and all that it requires here, by name."""
    names = {package}
    for requirement in map(Requirement, metadata.requires(package) or []):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            names |= _needed(canonicalize_name(requirement.name))
    return names


def test_the_lines_that_build_the_wheel_are_complete_and_in_the_lock() -> None:
    kept = re.search(r"\^\(([^)]*)\)==", DOCKERFILE)
    assert kept
    names = set(kept[1].split("|"))
    assert names == _needed("hatchling") | {"editables"}
    lock = (ROOT / "requirements/up.lock").read_text(encoding="utf-8")
    for name in names:
        assert re.search(rf"^{re.escape(name)}==", lock, re.MULTILINE), f"{name} left the lock"


def test_everything_the_image_copies_is_sent_to_the_builder() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"}
    packages = re.search(r"packages = \[(.*)\]", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert packages
    assert {name.strip(' "') for name in packages[1].split(",")} | {
        "pyproject.toml",
        "README.md",
        "requirements",
    } <= sent


# -- What CI calls ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", [".ci/run", "deploy/system-deps", "deploy/make-secrets", "deploy/postgres/init.sh"])
def test_scripts_are_executable_and_parse(script: str) -> None:
    path = ROOT / script
    assert path.stat().st_mode & stat.S_IXUSR
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0


def test_ci_runs_the_three_targets_in_order() -> None:
    run = (ROOT / ".ci/run").read_text(encoding="utf-8")
    at = [run.index(words) for words in ("make system-deps", "make check", "NOTIFIWS_STRICT=1 exec make test")]
    assert at == sorted(at)
    assert "set -eu" in run
