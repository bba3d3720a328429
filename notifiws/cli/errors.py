"""What a command ends with when it cannot do its work: a stable code, what failed and why, and the mend.

CliError
├── Failed          exit 1: tried and failed, or a violation found
├── UsageError      exit 2: an argument or a setting
├── NotRunning      exit 3: no stack in this data directory
├── PostgresAway    exit 4
├── RedisAway       exit 5
├── SchemaMismatch  exit 6: missing, or newer and no longer compatible
└── InUse           exit 7: a port or a data directory

The command line's root prints them; nobody else catches them.
"""

from typing import ClassVar


class CliError(Exception):
    """A command's end other than done.

    `code` is stable and listed in docs/errors.md; `message` says what failed and why; `fix` says what mends it,
    as a command where there is one.
    """

    exit_code: ClassVar[int] = 1
    default_code: ClassVar[str] = "failed"

    def __init__(self, message: str, fix: str | None = None, *, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code or self.default_code
        self.message = message
        self.fix = fix


class Failed(CliError):
    """Tried and failed, or a violation found."""


class UsageError(CliError):
    """An argument or a setting is wrong."""

    exit_code = 2
    default_code = "usage"


class NotRunning(CliError):
    """No stack runs in this data directory."""

    exit_code = 3
    default_code = "not_running"


class PostgresAway(CliError):
    """Postgres does not answer, or refuses the connection."""

    exit_code = 4
    default_code = "postgres"


class RedisAway(CliError):
    """Redis does not answer, or refuses the connection."""

    exit_code = 5
    default_code = "redis"


class SchemaMismatch(CliError):
    """Schema `notifiws` is missing, or newer than this release and no longer compatible with it."""

    exit_code = 6
    default_code = "schema"


class InUse(CliError):
    """A port or a data directory belongs to somebody else."""

    exit_code = 7
    default_code = "in_use"
