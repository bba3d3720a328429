"""Settings: names of the contract, units, secrets in files, and errors that say what was read and what is allowed."""

from pathlib import Path

import pytest

from shared import settings
from shared.settings import SettingsError, load, parse_bytes, parse_duration, reference, unknown_variables, variable

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for field in settings.Settings.model_fields:
        monkeypatch.delenv(variable(field), raising=False)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("24h", 86400), ("1d", 86400), ("250ms", 0.25), ("5", 5), ("1.5h", 5400)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("2000000", 2_000_000), ("64MB", 64_000_000), ("64 mb", 64_000_000), ("1GB", 10**9), ("7B", 7)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("NOTIFIWS_RETENTION", "a day", "a duration such as 90s, 10m or 24h"),
        ("NOTIFIWS_RETENTION", "-1s", "a duration such as"),
        ("NOTIFIWS_RETENTION", "0s", "greater than 0"),
        ("NOTIFIWS_HISTORY_BYTES", "64XB", "a size such as 2000000, 64MB or 1GB"),
        ("NOTIFIWS_PORT", "70000", "65535"),
        ("NOTIFIWS_PORT", "http", "integer"),
        ("NOTIFIWS_AUTH", "maybe", "'jwt' or 'none'"),
        ("NOTIFIWS_LOG_FORMAT", "xml", "'json' or 'console'"),
        ("NOTIFIWS_NAMESPACE", "a b", "pattern"),
        ("NOTIFIWS_ALLOWED_ORIGINS", "example.com", "origins such as https://app.example.com"),
        ("NOTIFIWS_MAX_CONNECTIONS", "0", "greater than 0"),
    ],
)
def test_a_bad_value_is_named_with_what_was_read_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load()
    assert name in str(caught.value)
    assert repr(value) in str(caught.value)
    assert allowed in str(caught.value)


def test_every_bad_value_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFIWS_PORT", "x")
    monkeypatch.setenv("NOTIFIWS_HISTORY", "y")
    with pytest.raises(SettingsError) as caught:
        load()
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == ["NOTIFIWS_PORT", "NOTIFIWS_HISTORY"]


def test_environment_over_secret_file_over_dotenv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("REDIS_URL=redis://dotenv\nNOTIFIWS_PORT=1234\nNOTIFIWS_HISTORY=10m\n")
    assert load().redis_url.get_secret_value() == "redis://dotenv"
    (tmp_path / "secret").write_text("redis://file\n")
    monkeypatch.setenv("REDIS_URL_FILE", str(tmp_path / "secret"))
    assert load().redis_url.get_secret_value() == "redis://file"
    monkeypatch.setenv("REDIS_URL", "redis://environment")
    read = load()
    assert read.redis_url.get_secret_value() == "redis://environment"
    assert (read.port, read.history) == (1234, 600.0)
    assert load(port=99).port == 99


def test_an_unreadable_secret_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL_FILE", "nowhere/secret")
    with pytest.raises(SettingsError, match=r"DATABASE_URL_FILE: cannot read 'nowhere/secret'"):
        load()


def test_secrets_do_not_show() -> None:
    read = load(database_url="postgresql://u:hush@h/d", jwt_secret="hush")
    assert "hush" not in repr(read)
    assert "hush" not in str(read.model_dump())


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().port = 1  # type: ignore[misc]


def test_misspelt_names_are_found() -> None:
    environ = {"NOTIFIWS_RETENTON": "1h", "NOTIFIWS_PORT": "1", "NOTIFIWS_JWT_SECRET_FILE": "x", "PATH": ""}
    assert unknown_variables(environ) == ["NOTIFIWS_RETENTON"]


def test_an_override_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://environment")
    assert load(redis_url="redis://argument").redis_url.get_secret_value() == "redis://argument"


def test_the_settings_page_is_the_code() -> None:
    page = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    assert reference() in page, "docs/settings.md: put there what shared.settings.reference() returns"
