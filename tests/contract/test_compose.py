"""compose.yaml: valid for both Compose generations, and each promise it makes about confinement, order and secrets.

Whether engines run it is tried elsewhere; here nothing is started.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from shared.settings import LOOPBACK, Settings, parse_duration, variable

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "compose.yaml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = YAML(typ="safe").load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {"migrate", "listener", "standby", "ws"}
ONE_SHOT = {"migrate"}


def seconds(text: str) -> float:
    return parse_duration(text)


def test_the_schema_of_compose_accepts_it() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    ran = subprocess.run([*check, str(ROOT / "compose.yaml")], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_no_word_that_docker_compose_1_29_rejects() -> None:
    assert not {"name", "include", "version"} & set(COMPOSE)
    assert "configs" not in COMPOSE
    for name, service in SERVICES.items():
        assert not {"develop", "env_file", "attach", "annotations"} & set(service), name
        assert "start_interval" not in service.get("healthcheck", {}), name
        conditions = service.get("depends_on", {})
        if isinstance(conditions, dict):
            assert all(set(condition) == {"condition"} for condition in conditions.values()), name


def test_the_parts_are_there() -> None:
    assert set(SERVICES) == OURS | {"postgres", "redis", "haproxy"}
    assert SERVICES["standby"]["profiles"] == ["standby"]
    assert [name for name, service in SERVICES.items() if "profiles" in service] == ["standby"]
    # One that leads and one that waits are the same thing started twice.
    assert {k: v for k, v in SERVICES["standby"].items() if k != "profiles"} == SERVICES["listener"]
    assert SERVICES["ws"]["deploy"]["replicas"] >= 2
    # `--scale ws=N` needs a service without a name or a host port of its own.
    assert not {"container_name", "ports", "hostname"} & set(SERVICES["ws"])


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_container_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"]), "runs as root"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert any(mount.startswith("/tmp") for mount in service["tmpfs"])
    limits = service["deploy"]["resources"]["limits"]
    assert limits["memory"]
    assert limits["cpus"]
    assert service["restart"] == ("no" if name in ONE_SHOT else "unless-stopped")
    assert service["logging"]["options"]["max-size"]
    assert int(service["logging"]["options"]["max-file"]) > 1
    for volume in service.get("volumes", []):
        if volume.startswith("./"):
            assert volume.endswith(":ro"), f"{volume} is writable"
            assert (ROOT / volume.split(":")[0]).is_file()


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_has_a_healthcheck(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    if name in ONE_SHOT:
        assert check == {"disable": True}
        return
    assert check["test"][0] in ("CMD", "CMD-SHELL")
    assert seconds(check["timeout"]) <= seconds(check["interval"]) <= 10
    assert check["retries"] >= 2
    if name == "ws":
        assert check["test"] == ["CMD", "notifiws", "healthcheck"]
    if name in ("listener", "standby"):
        assert check["test"] == ["CMD", "notifiws", "healthcheck", "--listener"]


def test_every_setting_named_exists_and_parses(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {variable(field) for field in Settings.model_fields}
    for name in OURS:
        for setting, written in SERVICES[name]["environment"].items():
            assert setting.removesuffix("_FILE") in known, f"{name}: {setting} is no setting"
            if not setting.endswith("_FILE"):
                monkeypatch.setenv(setting, re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", str(written)))
        Settings()
        for setting in SERVICES[name]["environment"]:
            monkeypatch.delenv(setting, raising=False)


def test_secrets_are_files_only() -> None:
    assert set(COMPOSE["secrets"]) == {secret for service in SERVICES.values() for secret in service.get("secrets", [])}
    for name, secret in COMPOSE["secrets"].items():
        assert secret == {"file": f"./deploy/secrets/{name}"}
    secret_settings = {
        variable(field) for field, info in Settings.model_fields.items() if "SecretStr" in str(info.annotation)
    }
    for name, service in SERVICES.items():
        environment = service.get("environment", {})
        assert not secret_settings & set(environment), name
        for setting, written in environment.items():
            if setting.endswith("_FILE"):
                assert Path(written).parent == Path("/run/secrets")
                assert Path(written).name in service["secrets"], f"{name} names a secret it does not mount"
            else:
                assert "PASSWORD" not in setting
                assert "SECRET" not in setting


def test_each_part_gets_only_the_secrets_it_needs() -> None:
    assert set(SERVICES["ws"]["secrets"]) == {"redis_url"}, "a node runs without Postgres"
    assert SERVICES["migrate"]["secrets"] == ["database_url"]
    assert "secrets" not in SERVICES["haproxy"]


def test_a_drain_is_never_cut_short() -> None:
    ws, haproxy = SERVICES["ws"], SERVICES["haproxy"]
    drain = seconds(ws["environment"]["NOTIFIWS_DRAIN_SECONDS"])
    assert seconds(ws["stop_grace_period"]) >= drain + 5
    hard_stop = re.search(r"hard-stop-after (\w+)", (ROOT / "deploy/haproxy.cfg").read_text(encoding="utf-8"))
    assert hard_stop
    assert drain < seconds(hard_stop[1]) < seconds(haproxy["stop_grace_period"])
    assert haproxy["stop_signal"] == "SIGUSR1"
    for name in ("listener", "standby", "postgres", "redis"):
        assert seconds(SERVICES[name]["stop_grace_period"]) >= 10


def test_descriptors_and_limits_agree() -> None:
    ws = SERVICES["ws"]
    assert ws["ulimits"]["nofile"] > int(ws["environment"]["NOTIFIWS_MAX_CONNECTIONS"]) * 1.1
    maxconn = re.search(r"^\s+maxconn (\d+)", (ROOT / "deploy/haproxy.cfg").read_text(encoding="utf-8"), re.MULTILINE)
    assert maxconn
    assert SERVICES["haproxy"]["ulimits"]["nofile"] > 2 * int(maxconn[1])


def test_open_to_all_means_loopback_and_says_so() -> None:
    assert SERVICES["ws"]["environment"]["NOTIFIWS_AUTH"] == "none"
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"haproxy"}, "only the balancer is reachable from outside"
    assert [port.split(":")[0] for port in published["haproxy"]] == ["127.0.0.1"]
    assert "127.0.0.1" in LOOPBACK
    assert "EVERYBODY WHO REACHES THE PORT SEES EVERY CHANNEL" in TEXT


def test_networks_let_nobody_further_than_they_must() -> None:
    networks = {name: set(service["networks"]) for name, service in SERVICES.items()}
    assert networks["haproxy"] == {"public", "edge"}
    assert networks["ws"] == {"edge", "data"}
    assert all(networks[name] == {"data"} for name in SERVICES if name not in ("haproxy", "ws"))
    assert COMPOSE["networks"] == {"public": {}, "edge": {"internal": True}, "data": {"internal": True}}


def test_order_of_the_start() -> None:
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in ("listener", "standby"):
        assert SERVICES[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert "postgres" not in SERVICES["ws"]["depends_on"], "a node runs without Postgres"


def test_images_are_pinned_by_name() -> None:
    for name, service in SERVICES.items():
        image = re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", service["image"])
        repository, _, tag = image.partition(":")
        assert repository, name
        assert tag, name
        assert tag != "latest", name
    assert SERVICES["postgres"]["image"].startswith("postgres:18")
    # From 18 on the image's data lies in a folder per major version below this one.
    assert any(volume.endswith(":/var/lib/postgresql") for volume in SERVICES["postgres"]["volumes"])
