"""Every setting, read once from the environment, frozen, and passed in by the composition roots.

Names are the contract's: `DATABASE_URL`, `REDIS_URL`, `NOTIFIWS_*`. A `.env` file in the working directory is read,
the environment wins over it. `NAME_FILE` names a file that holds the value, for secrets.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from dotenv import dotenv_values
from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    PositiveInt,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from shared.urls import scheme_of, well_formed

ENV_FILE: Final = ".env"
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_UNITS: Final = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_ESCAPED: Final = "; characters such as / ? # @ : in a password are written %2F %3F %23 %40 %3A"
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class SettingsError(ValueError):
    """Settings that stop the start. The text names each one, what was read and what is allowed."""


def parse_bytes(value: object) -> int:
    """`2000000`, `64MB` (powers of ten) → bytes. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = re.fullmatch(r"\s*(\d{1,15})\s*(B|KB|MB|GB|)\s*", str(value).upper())
    if match is None:
        raise ValueError("a size such as 2000000, 64MB or 1GB")
    return int(match[1]) * _UNITS[match[2]]


def parse_duration(value: object) -> float:
    """`90s`, `10m`, `24h`, `7d`, `250ms` (a bare number: seconds) → seconds. Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = re.fullmatch(r"\s*(\d{1,12}(?:\.\d{1,6})?)\s*(ms|s|m|h|d|)\s*", str(value).lower(), re.ASCII)
    if match is None:
        raise ValueError("a duration such as 90s, 10m or 24h")
    return float(match[1]) * _SECONDS[match[2] or "s"]


def _comma_list(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


Bytes = Annotated[int, BeforeValidator(parse_bytes), Field(gt=0)]
Seconds = Annotated[float, BeforeValidator(parse_duration), Field(gt=0)]
CommaList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_comma_list)]


class Settings(BaseSettings):
    """All settings of all parts. Build it with `load()`; tests build it by keyword with `_env_file=None`."""

    model_config = SettingsConfigDict(
        env_prefix="NOTIFIWS_",
        env_file=ENV_FILE,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        validate_default=True,
        hide_input_in_errors=True,
    )

    # Where things are
    database_url: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("DATABASE_URL"),
        description="the log's Postgres, for the listener and the command line",
    )
    redis_url: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("REDIS_URL"),
        description="the Redis or Valkey between listener and nodes",
    )
    reader_database_url: SecretStr | None = Field(
        None,
        description="nodes: the log, for positions older than the Redis window; role `notifiws_reader` is enough",
    )
    namespace: str = Field(
        "notifiws",
        pattern=r"^[A-Za-z0-9_.-]{1,64}$",
        description="prefix of all Redis keys and Redis channels",
    )
    host: str = Field("127.0.0.1", description="address a node (and the listener's health endpoint) binds")
    port: int = Field(8000, ge=0, le=65535, description="a node's port; 0: any free one")
    listener_port: int = Field(8001, ge=0, le=65535, description="the listener's health port; 0: any free one")

    # How they speak
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")
    log_format: Literal["json", "console"] = Field("json", description="one JSON object a line, or for people")

    # How long things are kept
    retention: Seconds = Field(24 * 3600.0, description="age that the log in Postgres keeps at least")
    log_bytes: Annotated[int, BeforeValidator(parse_bytes), Field(ge=0)] = Field(
        10_000_000_000,
        description="size that the log in Postgres may have; past it, it keeps less than that age; 0: any",
    )
    history: Seconds = Field(3600.0, description="age that the Redis window keeps")
    history_bytes: Bytes = Field(
        64_000_000, description="size that the Redis window keeps, per channel; the smaller wins"
    )
    max_event_bytes: Bytes = Field(
        64_000_000,
        description="the listener leaves out larger events and breaks their channel there: clients fetch afresh",
    )

    # What comes in
    emit_bytes: Annotated[Bytes, Field(le=500_000_000)] = Field(
        8_000_000,
        description="size that a payload of `notifiws.emit` may have, as JSON text; the leading listener sets it",
    )

    # Live queries
    live_query_seconds: Seconds = Field(5.0, description="time a run of a live query may take, then it has failed")
    live_query_bytes: Annotated[Bytes, Field(le=100_000_000)] = Field(
        1_000_000, description="size of a live query's result, then the run has failed"
    )

    # Who may come in
    auth: Literal["jwt", "none"] | None = Field(
        None, description="`none`: everything open to whoever connects; `jwt` is refused as unsupported in this release"
    )
    jwt_secret: SecretStr | None = Field(None, description="key of HMAC-signed tokens (with `jwt`)")
    jwt_jwks_url: str | None = Field(None, description="key set of publicly signed tokens (with `jwt`)")
    jwt_algorithms: CommaList = Field(("HS256",), description="algorithms that are accepted (with `jwt`)")
    jwt_audience: str | None = Field(None, description="required `aud` (with `jwt`)")
    jwt_issuer: str | None = Field(None, description="required `iss` (with `jwt`)")
    cookie: str | None = Field(None, description="cookie that carries the token (with `jwt`)")
    allowed_origins: CommaList = Field((), description="origins besides the node's own, `*` as a port allowed")
    trusted_proxies: CommaList = Field((), description="addresses or networks whose forwarded headers count")
    auth_seconds: Seconds = Field(10.0, description="time a connection has to authenticate, then 4408")

    # Limits of a node
    max_connections: PositiveInt = Field(15_000, description="connections a node takes, then 4429")
    max_connections_per_ip: PositiveInt = Field(
        1_000, description="connections from one address (IPv6: one /64 network), then 4429"
    )
    max_subscriptions: PositiveInt = Field(1_000, description="subscriptions of one connection, then `limit`")
    max_channels: PositiveInt = Field(20_000, description="channels a node follows at once, then `limit`")
    send_buffer_bytes: Bytes = Field(4_000_000, description="bytes that may wait for one connection, then 4409")
    drain_seconds: Seconds = Field(20.0, description="time over which a stopping node sends its clients away")

    # Between `up` and its parts
    shared_fd: int | None = Field(None, ge=3, description="inherited listening socket of the shared endpoint")
    dashboard_dir: Path | None = Field(None, description="static export that a node serves at `/`")

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if re.fullmatch(r"https?://[A-Za-z0-9.\-\[\]:]+?(:(\d+|\*))?", origin) is None:
                raise ValueError("origins such as https://app.example.com or http://localhost:*, separated by commas")
        return origins

    @field_validator("database_url", "reader_database_url")
    @classmethod
    def _database(cls, url: SecretStr | None) -> SecretStr | None:
        text = url.get_secret_value() if url else ""
        if url and not (scheme_of(text) in ("postgresql", "postgres") and well_formed(text)):
            raise ValueError(f"postgresql://user:password@host:port/database{_ESCAPED}")
        return url

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, url: SecretStr | None) -> SecretStr | None:
        # Other schemes, and what is not built yet, are refused by shared.redis_url, which says more.
        text = url.get_secret_value() if url else ""
        if scheme_of(text) in ("redis", "rediss", "unix", None) and not well_formed(text):
            raise ValueError(f"redis://user:password@host:port/db, rediss://… or unix://…{_ESCAPED}")
        return url

    @property
    def on_loopback(self) -> bool:
        """Whether the node is reachable from this machine only."""
        return self.host in LOOPBACK

    def local_url(self, port: int) -> str:
        """Where a process on this machine reaches what listens on `host` and `port`."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "localhost") else self.host  # noqa: S104 - compared, not bound
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment over `NAME_FILE` over `.env`."""
        return init_settings, env_settings, _FileSource(settings_cls), dotenv_settings


class _FileSource(PydanticBaseSettingsSource):
    """`NAME_FILE=/run/secrets/name`: the value is that file's text without surrounding white space."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        raise NotImplementedError  # the abstract door of the base; __call__ reads all at once

    def __call__(self) -> dict[str, Any]:
        values = {}
        for field_name in self.settings_cls.model_fields:
            name = variable(field_name)
            if path := os.environ.get(f"{name}_FILE"):
                try:
                    values[self._key(field_name)] = Path(path).read_text(encoding="utf-8").strip()
                except OSError as error:
                    raise SettingsError(f"{name}_FILE: cannot read {path!r}: {error.strerror}") from error
        return values

    def _key(self, field_name: str) -> str:
        # As the other sources name it, so that one source replaces the other's value and does not stand beside it.
        return variable(field_name) if self.settings_cls.model_fields[field_name].validation_alias else field_name


def variable(field_name: str) -> str:
    """The environment variable of a field: `database_url` → `DATABASE_URL`, `port` → `NOTIFIWS_PORT`."""
    plain = {"database_url", "redis_url"}
    return field_name.upper() if field_name in plain else f"NOTIFIWS_{field_name.upper()}"


def load(**overrides: Any) -> Settings:
    """Read all settings. `overrides` (field names) win over the environment; None means not given.

    Raises SettingsError with every bad name, what was read and what is allowed; secret values are not repeated.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(problem, given) for problem in error.errors())) from None


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Names that look like settings and are none: misspelt ones are said at the start, not ignored in silence."""
    known = {variable(name) for name in Settings.model_fields}
    return sorted(name for name in environ if name.startswith("NOTIFIWS_") and name.removesuffix("_FILE") not in known)


def _explain(problem: Any, given: Mapping[str, Any]) -> str:
    field_name = next(
        (name for name in Settings.model_fields if problem["loc"][0] in (name, variable(name))),
        str(problem["loc"][0]),
    )
    name = variable(field_name)
    allowed = str(problem["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    field = Settings.model_fields.get(field_name)
    if field is None or "SecretStr" in str(field.annotation):
        return f"{name}: allowed: {allowed}"
    read = given.get(field_name, os.environ.get(name, dotenv_values(ENV_FILE).get(name)))
    return f"{name}: read {str(read)!r}; allowed: {allowed}"


def reference() -> str:
    """The settings as a Markdown table. docs/settings.md holds exactly this."""
    rows = ["| setting | default | what it is |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = _written(field.default, field.metadata)
        rows.append(f"| `{variable(name)}` | {default and f'`{default}`'} | {field.description} |")
    return "\n".join(rows)


def _written(default: Any, metadata: list[Any]) -> str:
    """A default as one would write it into the environment: `24h`, `64MB`."""
    parser = next((mark.func for mark in metadata if isinstance(mark, BeforeValidator)), None)
    if parser is parse_duration:
        unit, seconds = next((u, s) for u, s in (("h", 3600), ("m", 60), ("s", 1)) if default % s == 0)
        return f"{default / seconds:g}{unit}"
    if parser is parse_bytes:
        unit, size = next((u, s) for u, s in (("GB", 10**9), ("MB", 10**6), ("", 1)) if default % s == 0)
        return f"{default // size}{unit}"
    return ",".join(default) if isinstance(default, tuple) else str(default or "")
