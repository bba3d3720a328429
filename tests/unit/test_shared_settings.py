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


DATABASE = "allowed: postgresql://user:password@host:port/database; "
REDIS = "allowed: redis://user:password@host:port/db, rediss://… or unix://…; "


@pytest.mark.parametrize(
    "rest",
    [
        "s3cr/x@h/d",
        "s3cr?x@h/d",
        "s3cr#x@h/d",
        "12/x@h/d",
        "12?x@h/d",
        "[s3cr@h/d",
        "12#x@h/d",
        "s3cr:x@h:99999/d",
        "s3cr/x@h:1,g:2/d",
        "s3\uff0fcr@h/d",
    ],
)
@pytest.mark.parametrize(
    ("name", "scheme", "allowed"),
    [
        ("DATABASE_URL", "postgresql", DATABASE),
        ("DATABASE_URL", "postgres", DATABASE),
        ("NOTIFIWS_READER_DATABASE_URL", "postgresql", DATABASE),
        ("REDIS_URL", "redis", REDIS),
        ("REDIS_URL", "rediss", REDIS),
        ("REDIS_URL", "unix", REDIS),
    ],
)
def test_no_piece_of_a_password_is_said(
    monkeypatch: pytest.MonkeyPatch, name: str, scheme: str, allowed: str, rest: str
) -> None:
    monkeypatch.setenv(name, f"{scheme}://hush:{rest}")
    with pytest.raises(SettingsError) as caught:
        load()
    said = f"{name}: {allowed}characters such as / ? # @ : in a password are written %2F %3F %23 %40 %3A"
    assert str(caught.value) == said
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("url", ["s3cr:t@h/d", "mysql://u:s3cr@h/d", "host=h password=s3cr", "//u:s3cr@h/d"])
def test_what_is_no_address_of_a_postgres_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(SettingsError, match="DATABASE_URL: allowed: postgresql://") as caught:
        load()
    assert "s3cr" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:///d", "postgres://u@h", "postgresql://u:a%2Fb%40c@[::1]:5432/d", "postgresql://u:p:q@h/d",
        "postgresql://u:p@h1:1,h2:2/d?target_session_attrs=read-write&sslmode=require", "postgresql://h/d%40e",
        "postgresql:///d?host=/var/run&user=a@b", "postgresql://u:p@q@h/d", "postgresql://",
    ],
)  # fmt: skip
def test_addresses_of_a_postgres(url: str) -> None:
    read = load(database_url=url).database_url
    assert read
    assert read.get_secret_value() == url


@pytest.mark.parametrize(
    "url",
    ["redis://", "redis://:p%2Fq@h:6379/0", "rediss://u:p@[::1]/1?ssl_ca_certs=/a@b", "unix:///run/v.sock?db=1",
     "unix://u:p@/run/v.sock", "redis+sentinel://h/x"],
)  # fmt: skip
def test_addresses_of_a_redis(url: str) -> None:
    read = load(redis_url=url).redis_url
    assert read
    assert read.get_secret_value() == url


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://127.0.0.1:80"),
        ("localhost", "http://127.0.0.1:80"),
        ("::1", "http://[::1]:80"),
        ("10.1.2.3", "http://10.1.2.3:80"),
    ],
)
def test_where_this_machine_reaches_a_part(host: str, url: str) -> None:
    assert load(host=host).local_url(80) == url


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
