"""What doctor knows when it judges: plain values, gathered by `adapters/`, read by `checks/`.

A field's default is what a healthy deployment shows. None: it was not to be had, and `unchecked` says why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from notifiws.doctor.finding import Unseen

T = TypeVar("T")
Row = Mapping[str, Any]


def seen(value: T | None) -> T:
    """The value. Raises Unseen, which ends the check that asked, when it was not to be had."""
    if value is None:
        raise Unseen
    return value


@dataclass(frozen=True)
class Unchecked:
    """Something that could not be looked at, and why. `subject` is an area or a part of one."""

    subject: str
    why: str


@dataclass(frozen=True)
class Server:
    """The Postgres server, and how we stand in it."""

    where: str = "127.0.0.1:5432/notifiws"
    version: int = 180000
    release: str = "18.0"
    database: str = "notifiws"
    role: str = "notifiws_owner"
    owner: str = "notifiws_owner"  # of the database
    superuser: bool = False
    createrole: bool = True
    may_create: bool = True
    in_recovery: bool = False
    encoding: str = "UTF8"
    doorbell: str | None = None  # notifiws.doorbell for us
    queue_usage: float = 0.0
    connections: int = 1
    tls: bool = False
    address: str | None = "127.0.0.1"  # None: a Unix socket
    sees_sessions: bool = True
    skew: float = 0.0  # seconds that its clock is ahead of ours, beyond what the answer's way explains
    settings: Mapping[str, str] = field(default_factory=dict)  # as a new session of ours has them; times in ms

    def number(self, name: str) -> int:
        """A setting as a number, 0 where this major has no such setting."""
        return int(self.settings.get(name, "0"))


@dataclass(frozen=True)
class Schema:
    """Schema `notifiws` as db.migrate judges it. `problem` None: this release can run on it."""

    problem: str | None = None
    kind: str | None = None  # missing, old, foreign, too_new
    fix: str | None = None
    version: int = 0
    wanted: int = 0
    owner: str | None = None
    is_owner: bool = True
    owner_superuser: bool = False
    pending: Sequence[str] = ()  # what a migrate would do


@dataclass(frozen=True)
class Log:
    """The log's state. Positions are ticks, ages seconds."""

    epoch: str = "aaaaaaaa"
    tick: int = 0
    lag: float = 0.0  # age of the oldest event that no tick has cut
    oldest: float = 0.0  # age of the oldest tick that can be read whole
    size: int = 0  # bytes of log and ticks
    slot_seconds: int = 14400
    outbox_partitions: int = 8
    tick_partitions: int = 8
    broken: str | None = None


@dataclass(frozen=True)
class Reader:
    """Who NOTIFIWS_READER_DATABASE_URL is. `away`: it does not answer, and why."""

    away: str | None = None
    role: str = "notifiws_reader"
    superuser: bool = False
    is_owner: bool = False
    system: str | None = None
    same_database: bool = True
    lacks: Sequence[str] = ()  # relations that it may not read


@dataclass(frozen=True)
class Redis:
    """The Redis or Valkey between listener and nodes. None: not to be had (CONFIG is often forbidden)."""

    where: str = "127.0.0.1:6379/0"
    product: str = "Redis"
    version: str = "7.0.15"
    cluster: bool = False  # and REDIS_URL does not say so
    role: str = "master"
    maxmemory: int | None = 0
    used_memory: int | None = 0
    policy: str | None = "noeviction"
    aof: bool | None = True
    save: str | None = ""
    cannot_save: str | None = None
    pubsub_limit: tuple[int, int, int] | None = (33554432, 8388608, 60)  # hard bytes, soft bytes, soft seconds
    bulk_limit: int | None = 536870912
    refused: Sequence[str] | None = ()  # commands that our user may not run
    user: str = "default"
    skew: float = 0.0
    epoch: str | None = None
    beat: Row | None = None  # the leader's heartbeat
    beat_age: float | None = None
    mark: tuple[str, int] | None = None  # epoch and tick of the last tick that is wholly published


@dataclass(frozen=True)
class Service:
    """A listener or node as it answers /readyz. `open`: it answers a channel list without a credential."""

    name: str
    url: str
    ready: bool = True
    role: str | None = None
    reasons: Sequence[Row] = ()
    warnings: Sequence[Row] = ()
    version: str | None = None
    open: bool | None = None


@dataclass(frozen=True)
class Local:
    """This process' settings, as a service here would read them, and files that others on this machine could read."""

    auth: str | None = None
    host: str = "127.0.0.1"
    on_loopback: bool = True
    retention: float = 86400.0
    log_bytes: int | None = None
    version: str = "0"
    jwt_secret_bytes: int | None = None
    unknown: Sequence[str] = ()
    refusal: str | None = None  # why a node would not start with them
    readable: Sequence[str] = ()


@dataclass(frozen=True)
class Facts:
    """Everything that was gathered. Rows are as the query of the same name in db/queries/doctor_*.sql says."""

    local: Local = field(default_factory=Local)
    postgres_away: str | None = None
    redis_away: str | None = None
    pooler: str | None = None
    server: Server | None = None
    schema: Schema | None = None
    role_settings: Sequence[Row] | None = None
    sessions: Sequence[Row] | None = None
    prepared: Sequence[Row] | None = None
    slots: Sequence[Row] | None = None
    locks: Sequence[Row] | None = None
    grants: Sequence[Row] | None = None
    emitter: Row | None = None
    watches: Sequence[Row] | None = None
    triggers: Sequence[Row] | None = None
    tables: Sequence[Row] | None = None
    notifiers: Sequence[Row] | None = None
    adopted: Sequence[Row] | None = None
    live_queries: Sequence[Row] | None = None
    log: Log | None = None
    reader: Reader | None = None
    redis: Redis | None = None
    services: Sequence[Service] | None = None
    unchecked: Sequence[Unchecked] = ()
