"""What doctor sees of its own place: settings, files with secrets, and which servers it is to examine."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from notifiws.cli import doctor as command
from notifiws.cli.errors import UsageError
from notifiws.doctor.adapters import local
from notifiws.doctor.examine import judge
from notifiws.doctor.facts import Facts
from notifiws.doctor.finding import Finding
from shared.settings import load


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory; not under pytest's own folder, which nobody else may enter."""
    folder = Path(tempfile.mkdtemp(prefix="notifiws-doctor-"))
    folder.chmod(0o755)
    monkeypatch.chdir(folder)
    yield folder
    shutil.rmtree(folder)


def findings(data_dir: Path | None = None) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in judge(Facts(local=local.gather(load(), os.environ, data_dir))).findings:
        found.setdefault(finding.code, []).append(finding)
    return found


def test_files_that_everybody_can_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dotenv, secret = folder / ".env", folder / "redis"
    dotenv.write_text("NOTIFIWS_PORT=1\nexport DATABASE_URL='postgresql://u:p4ss@h/d'\n", encoding="utf-8")
    secret.write_text("redis://:p4ss@h/0", encoding="utf-8")
    monkeypatch.setenv("REDIS_URL_FILE", str(secret))
    for path in (dotenv, secret):
        path.chmod(0o644)
    fixes = {finding.fix for finding in findings()["secret_readable"]}
    assert fixes == {f"chmod o-rwx {secret}", "chmod o-rwx .env"}
    folder.chmod(0o700)
    assert "secret_readable" not in findings()
    folder.chmod(0o755)
    secret.chmod(0o640)
    dotenv.write_text("NOTIFIWS_PORT=1\n", encoding="utf-8")  # nothing in it is secret
    assert "secret_readable" not in findings()


def test_a_stack_whose_files_were_opened(folder: Path) -> None:
    for name in ("state.json", "identity.json"):
        (folder / name).write_text("{}", encoding="utf-8")
        (folder / name).chmod(0o600)
    assert "secret_readable" not in findings(folder)
    (folder / "state.json").chmod(0o604)
    assert [finding.fix for finding in findings(folder)["secret_readable"]] == [f"chmod o-rwx {folder}/state.json"]


@pytest.mark.parametrize(
    ("settings", "codes"),
    [
        ({}, set()),
        ({"NOTIFIWS_AUTH": "none"}, {"auth_none"}),
        ({"NOTIFIWS_AUTH": "none", "NOTIFIWS_HOST": "0.0.0.0"}, {"auth_open"}),
        ({"NOTIFIWS_HOST": "0.0.0.0"}, {"settings_refused"}),
        ({"NOTIFIWS_PROT": "1"}, {"unknown_setting"}),
    ],
)
def test_settings(settings: dict[str, str], codes: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert set(findings()) == codes


def refusal(tmp_path: Path, *services: str) -> UsageError:
    with pytest.raises(UsageError) as refused:
        command._patient(tmp_path, list(services))
    return refused.value


def test_nothing_to_examine(tmp_path: Path) -> None:
    error = refusal(tmp_path)
    assert error.message.startswith("nothing to examine: DATABASE_URL is not set, and no stack runs in ")
    assert error.fix
    assert "ws://h:1" in refusal(tmp_path, "ws://h:1").message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgresql://u:s3cr/x@h:1/0"),
        ("REDIS_URL", "redis://u:s3cr/x@h:1/0"),
        ("REDIS_URL", "x://s3cr"),
    ],
)
def test_an_address_that_does_not_parse(name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    error = refusal(tmp_path)
    assert error.message.startswith(f"{name}: ")
    assert "s3cr" not in error.message


class Running:
    """A data directory in which a stack runs."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def running(self) -> Any:
        return {
            "database_url": "postgresql://o:p@h/d",
            "redis_url": "redis://h/0",
            "namespace": "mine",
            "data_dir": ".",
        }


@pytest.mark.parametrize(
    ("environ", "database", "redis", "namespace"),
    [
        ({}, "postgresql://o:p@h/d", "redis://h/0", "mine"),
        ({"DATABASE_URL": "postgresql://o:p@h/d"}, "postgresql://o:p@h/d", "redis://h/0", "mine"),
        # Other servers than the stack's: then none of it is meant.
        ({"DATABASE_URL": "postgresql://o:p@h/other"}, "postgresql://o:p@h/other", None, "notifiws"),
        ({"REDIS_URL": "redis://h/1", "NOTIFIWS_NAMESPACE": "n"}, None, "redis://h/1", "n"),
    ],
)
def test_the_environment_goes_before_a_stack(
    environ: dict[str, str],
    database: str | None,
    redis: str | None,
    namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("notifiws.stack.directory.DataDirectory", Running)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    patient = command._patient(tmp_path, [])
    assert (patient.database_url, patient.redis_url, patient.namespace) == (database, redis, namespace)
    assert (patient.state is None) is (namespace != "mine")
