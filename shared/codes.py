"""Codes of the public contract: error codes of frames and HTTP, close codes of WebSockets, reasons of /readyz."""

from enum import IntEnum, StrEnum


class ErrorCode(StrEnum):
    """`error.code` in frames and HTTP bodies."""

    UNAUTHENTICATED = "unauthenticated"
    UNKNOWN_TYPE = "unknown_type"
    BAD_FIELD = "bad_field"
    BAD_CHANNEL = "bad_channel"
    BAD_POSITION = "bad_position"
    BAD_FILTER = "bad_filter"
    UNKNOWN_COLUMN = "unknown_column"
    ALREADY_SUBSCRIBED = "already_subscribed"
    NOT_SUBSCRIBED = "not_subscribed"
    FORBIDDEN = "forbidden"
    LIMIT = "limit"
    RATE_LIMITED = "rate_limited"
    SNAPSHOT_UNAVAILABLE = "snapshot_unavailable"
    UNSUPPORTED = "unsupported"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


class CloseCode(IntEnum):
    """WebSocket close codes. docs/protocol.md says for each whether and when to come back."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL = 1002
    BINARY = 1003
    UTF8 = 1007
    TOO_BIG = 1009
    INTERNAL = 1011
    RESTART = 1012
    MALFORMED = 4400
    UNAUTHENTICATED = 4401
    FORBIDDEN = 4403
    AUTH_TIMEOUT = 4408
    SLOW = 4409
    HISTORY_GONE = 4410
    LIMIT = 4429


class Lost(StrEnum):
    """Why a position could not be resumed (`recovered: false`, `reset`, HTTP 410)."""

    EPOCH = "epoch"
    EXPIRED = "expired"
    AHEAD = "ahead"


class Unready(StrEnum):
    """Codes of /readyz reasons."""

    STARTING = "starting"
    POSTGRES = "postgres"
    REDIS = "redis"
    SCHEMA = "schema"
    DEAF = "deaf"
    LAGGING = "lagging"
    LOCKED = "locked"
    DRAINING = "draining"


class Warned(StrEnum):
    """Codes of /readyz warnings: the part is ready, and somebody should look."""

    DOORBELL = "doorbell"
    LOG_LARGE = "log_large"
    RESEEDING = "reseeding"
    WATCHES = "watches"
