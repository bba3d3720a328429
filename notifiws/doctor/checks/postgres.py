"""The Postgres server: its version, what it does at a crash, who or what is in the way between it and us."""

import ipaddress
from collections.abc import Iterator
from typing import Final

from notifiws.doctor.facts import Facts, Row, seen
from notifiws.doctor.finding import Found, Severity, check

OLDEST: Final = 15
NEWEST: Final = 18
RELOAD: Final = "SELECT pg_reload_conf()"
# Shorter than this, a node that reads now and then makes its connections anew all day.
IDLE_MS: Final = 10_000
# A replay of a million rows takes longer than this on a small machine.
TRANSACTION_MS: Final = 600_000
HOUR: Final = 3600.0
PREPARED_SECONDS: Final = 600.0
# Events, the Redis window and tokens are stamped by three clocks.
SKEW_SECONDS: Final = 2.0
FULL: Final = 0.5  # past it the doorbell falls silent, see notifiws.ring
FILLING: Final = 0.1


@check(
    Severity.ERROR,
    ends=4,
    mend="start Postgres, or correct DATABASE_URL",
)
def postgres_away(facts: Facts) -> Iterator[Found]:
    """nothing is captured into a log that is away, and nothing of it is relayed."""
    if facts.postgres_away:
        yield Found(facts.postgres_away)


@check(
    Severity.ERROR,
    mend="move the database to PostgreSQL 15 or newer, such as by pg_upgrade",
)
def postgres_version(facts: Facts) -> Iterator[Found]:
    """this release is written and tested for PostgreSQL 15 and up."""
    server = seen(facts.server)
    if server.version // 10000 < OLDEST:
        yield Found(f"Postgres is {server.release}")


@check(
    Severity.NOTE,
    mend="try it beside your tests first; CHANGELOG.md names the majors that are tested",
)
def postgres_newer(facts: Facts) -> Iterator[Found]:
    """the suite of this release does not run on it yet."""
    server = seen(facts.server)
    if server.version // 10000 > NEWEST:
        yield Found(f"Postgres is {server.release}")


@check(
    Severity.ERROR,
    mend="give DATABASE_URL Postgres' own address, or the pooler's port in session mode",
)
def pooler(facts: Facts) -> Iterator[Found]:
    """LISTEN and session locks need a server session of their own: `notifiws listener` does not start behind it."""
    if facts.pooler:
        yield Found(facts.pooler.partition("; ")[0])  # the rest is the mend


@check(
    Severity.ERROR,
    mend="point DATABASE_URL at the primary; several hosts may stand there, with ?target_session_attrs=read-write",
)
def standby(facts: Facts) -> Iterator[Found]:
    """a standby takes no writes, so no tick can be cut there and nothing is relayed."""
    if seen(facts.server).in_recovery:
        yield Found("Postgres is a standby (pg_is_in_recovery)")


@check(
    Severity.ERROR,
    mend="dump the database and restore it into one made with ENCODING 'UTF8'",
)
def sql_ascii(facts: Facts) -> Iterator[Found]:
    """bytes that are no text in any encoding would be logged as they are, and the relay could not read them."""
    if seen(facts.server).encoding == "SQL_ASCII":
        yield Found("the database's encoding is SQL_ASCII")


def _off(facts: Facts, name: str) -> Iterator[Found]:
    if seen(facts.server).settings.get(name) == "off":
        yield Found(f"{name} is off", f"ALTER SYSTEM SET {name} = on; {RELOAD}")


@check(
    Severity.ERROR,
    mend=f"ALTER SYSTEM SET fsync = on; {RELOAD}",
)
def fsync_off(facts: Facts) -> Iterator[Found]:
    """a crash of the machine loses commits that clients have already seen, and may corrupt the database."""
    yield from _off(facts, "fsync")


@check(
    Severity.ERROR,
    mend=f"ALTER SYSTEM SET full_page_writes = on; {RELOAD}",
)
def full_page_writes_off(facts: Facts) -> Iterator[Found]:
    """a crash of the machine may leave torn pages in the log and in every table."""
    yield from _off(facts, "full_page_writes")


@check(
    Severity.ERROR,
    mend=f"ALTER SYSTEM SET synchronous_commit = on; {RELOAD}",
)
def synchronous_commit_off(facts: Facts) -> Iterator[Found]:
    """a crash loses the last commits that were confirmed to writers, rows and events together; what clients have seen
    is safe, since a tick is always written durably."""
    yield from _off(facts, "synchronous_commit")


def _whose(row: Row) -> str:
    """The object of ALTER … SET that a role's or database's setting came from."""
    role = f"ROLE {quoted(row['role'])}" if row["role"] else "DATABASE " + quoted(row["database"] or "")
    inside = f" IN DATABASE {quoted(row['database'])}" if row["role"] and row["database"] else ""
    return role + inside


def quoted(name: str) -> str:
    """An SQL name, quoted where it has to be."""
    plain = name.isascii() and name.replace("_", "a").isalnum() and name == name.lower() and not name[0].isdigit()
    return name if plain else '"' + name.replace('"', '""') + '"'


@check(
    Severity.WARNING,
    mend="ALTER ROLE … RESET synchronous_commit",
)
def role_synchronous_commit_off(facts: Facts) -> Iterator[Found]:
    """a crash loses the last commits of these writers, rows and events together, although they were confirmed."""
    for row in seen(facts.role_settings):
        if row["name"] == "synchronous_commit" and row["value"] == "off" and row["role"] != seen(facts.server).role:
            yield Found(f"{_whose(row)} has synchronous_commit = off", f"ALTER {_whose(row)} RESET synchronous_commit")


@check(
    Severity.WARNING,
    mend="ALTER ROLE <the two-phase writer> SET notifiws.doorbell = off, as a superuser; or "
    "options=-c%20notifiws.doorbell=off in that writer's address; without such writers: "
    "ALTER SYSTEM SET max_prepared_transactions = 0, and a restart",
)
def two_phase(facts: Facts) -> Iterator[Found]:
    """PREPARE TRANSACTION refuses a transaction that rang the doorbell, so a two-phase writer of a watched table fails
    whenever the relay sleeps; with notifiws.doorbell off it never rings, and the fallback poll serves it."""
    server = seen(facts.server)
    silent = [row for row in seen(facts.role_settings) if row["name"] == "notifiws.doorbell"]
    if server.number("max_prepared_transactions") > 0 and not silent and not server.doorbell:
        yield Found(
            f"max_prepared_transactions is {server.number('max_prepared_transactions')}, and no role or database has "
            "notifiws.doorbell = off"
        )


@check(
    Severity.WARNING,
    mend="COMMIT PREPARED or ROLLBACK PREPARED",
)
def prepared_transaction(facts: Facts) -> Iterator[Found]:
    """it keeps its locks and old row versions until somebody decides it, across restarts; one that rang or stayed
    silent by the doorbell's lock keeps the relay from ever sleeping."""
    for row in seen(facts.prepared):
        if row["seconds"] > PREPARED_SECONDS:
            gid = "'" + row["gid"].replace("'", "''") + "'"
            yield Found(
                f"transaction {gid} of role {row['role']} has been prepared for {ago(row['seconds'])}",
                f"COMMIT PREPARED {gid}, or ROLLBACK PREPARED {gid}",
            )


@check(
    Severity.ERROR,
    mend=f"ALTER SYSTEM RESET session_replication_role; {RELOAD}",
)
def replica_role(facts: Facts) -> Iterator[Found]:
    """writes of every session fire no ordinary trigger: their changes never reach the log, in silence."""
    if any(row["name"] == "session_replication_role" for row in seen(facts.role_settings)):
        return  # of one role or database: its watches say so, see watch_not_in_force
    if seen(facts.server).settings.get("session_replication_role") == "replica":
        yield Found("session_replication_role is replica for every session")


@check(
    Severity.WARNING,
    mend="ALTER ROLE <the listener's> SET transaction_timeout = 0",
)
def transaction_timeout(facts: Facts) -> Iterator[Found]:
    """reading a very large transaction takes longer, is ended by it, and is begun again for ever."""
    server = seen(facts.server)
    if 0 < (most := server.number("transaction_timeout")) < TRANSACTION_MS:
        yield Found(
            f"transaction_timeout is {most} ms for role {server.role}",
            f"ALTER ROLE {quoted(server.role)} SET transaction_timeout = 0",
        )


@check(
    Severity.WARNING,
    mend="ALTER ROLE <the reader's> SET idle_session_timeout = 0",
)
def idle_session_timeout(facts: Facts) -> Iterator[Found]:
    """connections that nodes keep for reading are ended between two questions; the listener's set their own."""
    if 0 < (most := seen(facts.server).number("idle_session_timeout")) < IDLE_MS:
        yield Found(f"idle_session_timeout is {most} ms")


@check(
    Severity.WARNING,
    mend="ALTER SYSTEM SET max_connections = … and a restart, or look in pg_stat_activity for who keeps so many",
)
def connections_short(facts: Facts) -> Iterator[Found]:
    """listeners and the nodes' readers need some sessions each; refused, they wait, and events with them."""
    server = seen(facts.server)
    most = server.number("max_connections")
    if most and server.connections > 0.9 * most:
        yield Found(f"{server.connections} of {most} connections are in use")


@check(
    Severity.ERROR,
    mend="SELECT pg_terminate_backend(pid) for the session that LISTENs and stays inside a transaction; the server's "
    "log names it",
)
def notify_queue_full(facts: Facts) -> Iterator[Found]:
    """past half full the doorbell is silent and events take the slow poll; a full queue fails every NOTIFY of yours at
    commit."""
    if (used := seen(facts.server).queue_usage) >= FULL:
        yield _queue(facts, used)


@check(
    Severity.WARNING,
    mend="SELECT pg_terminate_backend(pid) for the session that LISTENs and stays inside a transaction",
)
def notify_queue_filling(facts: Facts) -> Iterator[Found]:
    """a session that LISTENs does not take its notifications; a full queue fails every NOTIFY at commit."""
    if FILLING <= (used := seen(facts.server).queue_usage) < FULL:
        yield _queue(facts, used)


def _queue(facts: Facts, used: float) -> Found:
    oldest = next(iter(facts.sessions or ()), None)
    return Found(
        f"the NOTIFY queue is {used:.0%} full",
        None
        if oldest is None
        else f"SELECT pg_terminate_backend({oldest['pid']}) -- the oldest open transaction, {_session(oldest)}",
    )


@check(
    Severity.WARNING,
    mend="end it where it was begun, or SELECT pg_terminate_backend(pid)",
)
def old_transaction(facts: Facts) -> Iterator[Found]:
    """vacuum cannot remove what it might still see, in any table, and while it writes the relay polls instead of
    sleeping; events of others are not delayed."""
    for row in seen(facts.sessions):
        if row["seconds"] > HOUR:
            yield Found(
                f"{_session(row)} has been in one transaction for {ago(row['seconds'])} ({row['state']})",
                f"SELECT pg_terminate_backend({row['pid']})",
            )


def _session(row: Row) -> str:
    return f"session {row['pid']} of role {row['role']}, application {row['application'] or 'without a name'}"


@check(
    Severity.WARNING,
    mend="SELECT pg_drop_replication_slot('…'), unless its reader comes back soon",
)
def idle_slot(facts: Facts) -> Iterator[Found]:
    """it keeps WAL until the disk is full, and then Postgres stops; notifiws uses no slot."""
    for row in seen(facts.slots):
        name = "'" + row["name"].replace("'", "''") + "'"
        yield Found(
            f"nobody reads {row['kind']} replication slot {row['name']}; it keeps {row['bytes'] / 1e6:.0f} MB of WAL",
            f"SELECT pg_drop_replication_slot({name}), unless its reader comes back soon",
        )


@check(
    Severity.WARNING,
    mend="run NTP (chrony, systemd-timesyncd) on both machines",
)
def clock_skew(facts: Facts) -> Iterator[Found]:
    """ages in the Redis window, the end of tokens and the events' own times disagree by as much."""
    for name, part in (("Postgres", facts.server), ("Redis", facts.redis)):
        if part is not None and abs(part.skew) > SKEW_SECONDS:
            way = "ahead of" if part.skew > 0 else "behind"
            yield Found(f"the clock of {name} is {abs(part.skew):.1f} s {way} this machine's")


@check(
    Severity.WARNING,
    mend="add ?sslmode=verify-full to DATABASE_URL",
)
def postgres_plaintext(facts: Facts) -> Iterator[Found]:
    """who reads the way between can read every row, and the password's exchange."""
    server = seen(facts.server)
    if server.address and not server.tls and ipaddress.ip_address(server.address).is_global:
        yield Found(f"the connection to {server.address}, a public address, has no TLS")


def ago(seconds: float) -> str:
    """A time span as one says it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / HOUR:.0f} h"
