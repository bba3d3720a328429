"""Schema `notifiws`: there, of this release, ours, and closed to others."""

from collections.abc import Iterator

from notifiws.doctor.checks.postgres import quoted
from notifiws.doctor.facts import Facts, seen
from notifiws.doctor.finding import Found, Severity, check


def _problem(facts: Facts, kind: str) -> Iterator[Found]:
    schema = seen(facts.schema)
    if schema.problem and schema.kind == kind:
        yield Found(schema.problem, schema.fix)


@check(
    Severity.ERROR,
    ends=6,
    mend="notifiws migrate, as the database's owner",
)
def schema_missing(facts: Facts) -> Iterator[Found]:
    """there is no log: nothing is captured, and no listener starts."""
    for found in _problem(facts, "missing"):
        server = seen(facts.server)
        able = server.may_create and server.createrole
        who = "" if able else f", as the database's owner {server.owner} with CREATEROLE; {server.role} may not"
        yield Found(found.what, f"notifiws migrate{who}")


@check(
    Severity.ERROR,
    ends=6,
    mend="notifiws migrate, as the role that owns it; writers and older listeners go on meanwhile",
)
def schema_old(facts: Facts) -> Iterator[Found]:
    """an older release made it, and this one does not start on it."""
    for found in _problem(facts, "old"):
        yield Found(found.what)


@check(
    Severity.ERROR,
    ends=6,
    mend="upgrade notifiws to the release that migrated this database",
)
def schema_too_new(facts: Facts) -> Iterator[Found]:
    """a newer release made it, and says that this one can no longer run on it."""
    yield from _problem(facts, "too_new")


@check(
    Severity.ERROR,
    ends=6,
    mend="connect as the role that owns it; if nobody you trust made it: DROP SCHEMA notifiws CASCADE and migrate",
)
def schema_foreign(facts: Facts) -> Iterator[Found]:
    """whoever owns something in it chooses what code runs when we touch it, so nothing here does."""
    yield from _problem(facts, "foreign")


@check(
    Severity.ERROR,
    mend="let DATABASE_URL name the role that ran `notifiws migrate`, or GRANT that role to this one",
)
def not_owner(facts: Facts) -> Iterator[Found]:
    """the listener reads and cuts the log as its owner; under another role it does not start."""
    schema = seen(facts.schema)
    if schema.kind == "not_owner" and schema.owner:
        role = seen(facts.server).role
        yield Found(
            f"schema notifiws belongs to role {schema.owner}, and DATABASE_URL connects as {role}",
            f"connect as {schema.owner}, or GRANT {quoted(schema.owner)} TO {quoted(role)}",
        )


@check(
    Severity.WARNING,
    mend="upgrade this installation to the release that migrated the database",
)
def schema_newer(facts: Facts) -> Iterator[Found]:
    """releases run side by side during a rolling upgrade; for good, the older one lacks what the newer wrote it for."""
    schema = seen(facts.schema)
    if not schema.problem and schema.version > schema.wanted:
        yield Found(f"schema notifiws has version {schema.version}, this release's is {schema.wanted}")


@check(
    Severity.WARNING,
    mend="notifiws migrate",
)
def functions_differ(facts: Facts) -> Iterator[Found]:
    """capture and cut run another release's code than this one was tested with."""
    schema = seen(facts.schema)
    if not schema.problem and schema.pending:
        yield Found(f"a migrate would renew: {', '.join(schema.pending)}")


@check(
    Severity.WARNING,
    mend="CREATE ROLE notifiws_owner LOGIN CREATEROLE PASSWORD '…'; ALTER DATABASE … OWNER TO notifiws_owner; "
    "and connect as it",
)
def superuser(facts: Facts) -> Iterator[Found]:
    """capture functions run as the schema's owner, and render rows by casts that whoever owns a watched table may
    define: that role could do anything; nothing of notifiws needs a superuser."""
    server = seen(facts.server)
    if server.superuser:
        yield Found(f"DATABASE_URL connects as {server.role}, a superuser")
    elif facts.schema is not None and facts.schema.owner_superuser:
        yield Found(f"schema notifiws belongs to {facts.schema.owner}, a superuser")


@check(
    Severity.ERROR,
    mend="REVOKE ALL ON ALL TABLES IN SCHEMA notifiws FROM PUBLIC",
)
def log_public(facts: Facts) -> Iterator[Found]:
    """the log holds rows of every watched table: any role of this database may read, forge or drop them."""
    for row in (row for row in seen(facts.grants) if row["role"] is None):
        yield Found(f"PUBLIC has {row['privilege']} on {row['name']}", f"REVOKE ALL ON {row['name']} FROM PUBLIC")


@check(
    Severity.WARNING,
    mend="REVOKE ALL ON ALL TABLES IN SCHEMA notifiws FROM <role>; applications emit through notifiws_emitter",
)
def log_writers(facts: Facts) -> Iterator[Found]:
    """who may write to the log past notifiws.emit and the triggers can forge events of any channel, or drop them."""
    for row in (row for row in seen(facts.grants) if row["role"] is not None):
        yield Found(
            f"role {row['role']} has {row['privilege']} on {row['name']}",
            f"REVOKE {row['privilege']} ON {row['name']} FROM {quoted(row['role'])}",
        )


@check(
    Severity.WARNING,
    mend="GRANT USAGE ON SCHEMA notifiws TO notifiws_emitter; "
    "GRANT EXECUTE ON FUNCTION notifiws.emit(text, jsonb) TO notifiws_emitter",
)
def emitter_grants(facts: Facts) -> Iterator[Found]:
    """applications that call notifiws.emit are refused, and their transactions with it."""
    emitter = seen(facts.emitter)
    if not emitter["there"]:
        yield Found("role notifiws_emitter is gone", f"CREATE ROLE notifiws_emitter NOLOGIN; {emitter_grants.mend}")
    elif not emitter["may"]:
        yield Found("role notifiws_emitter may not call notifiws.emit")


@check(
    Severity.WARNING,
    mend="start that server, or correct NOTIFIWS_READER_DATABASE_URL",
)
def reader_away(facts: Facts) -> Iterator[Found]:
    """positions older than the Redis window, and snapshots, are refused as expired or snapshot_unavailable."""
    reader = seen(facts.reader)
    if reader.away:
        yield Found(f"the nodes' reader does not answer: {reader.away}")


@check(
    Severity.WARNING,
    mend="CREATE ROLE nodes LOGIN PASSWORD '…' IN ROLE notifiws_reader, with SELECT on tables that have snapshots; let "
    "NOTIFIWS_READER_DATABASE_URL connect as it",
)
def reader_is_owner(facts: Facts) -> Iterator[Found]:
    """a node that is broken into could write to the log, or drop it; it only needs to read."""
    reader = seen(facts.reader)
    if not reader.away and (reader.is_owner or reader.superuser):
        yield Found(f"the nodes' reader is role {reader.role}, {'a superuser' if reader.superuser else 'the owner'}")


@check(
    Severity.WARNING,
    mend="GRANT notifiws_reader TO <the reader's role>",
)
def reader_grants(facts: Facts) -> Iterator[Found]:
    """positions older than the Redis window, and snapshots, are refused as expired or snapshot_unavailable."""
    reader = seen(facts.reader)
    if not reader.away and reader.lacks:
        names, role = ", ".join(reader.lacks), quoted(reader.role)
        yield Found(
            f"the nodes' reader, role {reader.role}, may not read {names}",
            f"GRANT notifiws_reader TO {role}",
        )


@check(
    Severity.ERROR,
    mend="let NOTIFIWS_READER_DATABASE_URL name the database of DATABASE_URL, or a standby of it",
)
def reader_elsewhere(facts: Facts) -> Iterator[Found]:
    """its history and snapshots are another log's: a position would be answered with events of something else."""
    reader = seen(facts.reader)
    if not reader.away and not reader.same_database:
        yield Found("the nodes' reader is connected to another database than the log's")
