"""Every check of doctor, provoked by facts alone: what it says, its mend, and that healthy facts leave it silent."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from notifiws.doctor.catalogue import CHECKS
from notifiws.doctor.examine import judge
from notifiws.doctor.facts import Facts, Local, Log, Reader, Redis, Schema, Server, Service
from notifiws.doctor.finding import Finding

BEAT = {"epoch": "aaaaaaaa", "tick": 7, "lag_seconds": 0.0}
LEADER = {
    "key": 1, "pid": 10, "exclusive": True, "application": "notifiws relay", "role": "notifiws_owner", "state": "idle",
    "seconds": None, "ours": True,
}  # fmt: skip
WATCH = {
    "table": "public.ventas", "channel": "sales", "events": ["insert", "update", "delete", "truncate"], "columns": None,
    "condition": None, "snapshot": True, "always": False, "in_force": True, "problem": None, "present": ["id", "total"],
}  # fmt: skip
TABLE = {
    "table": "public.ventas", "channel": "sales", "snapshot": True, "always": False, "unlogged": False,
    "applied": False,
}  # fmt: skip
NOTIFIER = {
    "table": "public.ventas", "relkind": "r", "trigger": "new_sale", "type": 5, "narrowed": False,
    "source": "begin perform pg_notify('sales_channel', row_to_json(new)::text); return new; end",
}  # fmt: skip
HEALTHY = Facts(
    local=Local(auth="jwt"),
    server=Server(settings={"fsync": "on", "max_connections": "100", "synchronous_commit": "on"}),
    schema=Schema(version=2, wanted=2, owner="notifiws_owner"),
    role_settings=[],
    sessions=[],
    prepared=[],
    slots=[],
    locks=[LEADER],
    grants=[],
    emitter={"there": True, "may": True},
    watches=[WATCH],
    triggers=[],
    tables=[TABLE],
    notifiers=[],
    adopted=[],
    live_queries=[],
    log=Log(tick=7),
    reader=Reader(),
    redis=Redis(epoch="aaaaaaaa", beat=BEAT, beat_age=0.5, mark=("aaaaaaaa", 7)),
    services=[Service("listener", "http://127.0.0.1:8001", role="leader", version="0")],
)


def server(**fields: Any) -> Facts:
    return replace(HEALTHY, server=replace(HEALTHY.server, **fields))  # type: ignore[type-var]


def setting(name: str, value: str) -> Facts:
    return server(settings={name: value})


def redis(**fields: Any) -> Facts:
    return replace(HEALTHY, redis=replace(HEALTHY.redis, **fields))  # type: ignore[type-var]


def log(**fields: Any) -> Facts:
    return replace(HEALTHY, log=replace(HEALTHY.log, **fields))  # type: ignore[type-var]


def local(**fields: Any) -> Facts:
    return replace(HEALTHY, local=replace(HEALTHY.local, **fields))


def schema(kind: str, problem: str = "schema notifiws does not fit", **fields: Any) -> Facts:
    return replace(HEALTHY, schema=Schema(problem, kind, **fields))


def reader(**fields: Any) -> Facts:
    return replace(HEALTHY, reader=Reader(**fields))


def role(name: str, value: str, who: str | None = "app") -> dict[str, Any]:
    return {"role": who, "database": None, "name": name, "value": value}


@dataclass
class Case:
    code: str
    facts: Facts
    what: str
    fix: str = ""


CASES = [
    Case("postgres_away", Facts(postgres_away="Postgres at h:1/d does not answer"), "does not answer", "DATABASE_URL"),
    Case("postgres_version", server(version=140011, release="14.11"), "14.11"),
    Case("postgres_newer", server(version=190000, release="19.0"), "19.0"),
    Case(
        "pooler",
        replace(HEALTHY, pooler="leads to a pooler (how); and so on"),
        "leads to a pooler (how)",
        "session mode",
    ),
    Case("standby", server(in_recovery=True), "pg_is_in_recovery", "primary"),
    Case("sql_ascii", server(encoding="SQL_ASCII"), "SQL_ASCII"),
    Case("fsync_off", setting("fsync", "off"), "fsync is off", "ALTER SYSTEM SET fsync = on"),
    Case("full_page_writes_off", setting("full_page_writes", "off"), "full_page_writes is off"),
    Case("synchronous_commit_off", setting("synchronous_commit", "off"), "synchronous_commit is off"),
    Case(
        "role_synchronous_commit_off",
        replace(HEALTHY, role_settings=[role("synchronous_commit", "off", "App")]),
        'ROLE "App" has synchronous_commit = off',
        'ALTER ROLE "App" RESET synchronous_commit',
    ),
    Case("two_phase", setting("max_prepared_transactions", "10"), "is 10", "SET notifiws.doorbell = off"),
    Case(
        "prepared_transaction",
        replace(HEALTHY, prepared=[{"gid": "it's", "role": "app", "seconds": 700.0}]),
        "'it''s'",
        "ROLLBACK PREPARED 'it''s'",
    ),
    Case("replica_role", setting("session_replication_role", "replica"), "for every session", "ALTER SYSTEM RESET"),
    Case("transaction_timeout", setting("transaction_timeout", "60000"), "60000 ms", "ALTER ROLE notifiws_owner SET"),
    Case("idle_session_timeout", setting("idle_session_timeout", "5000"), "5000 ms"),
    Case("connections_short", server(connections=95, settings={"max_connections": "100"}), "95 of 100"),
    Case("notify_queue_full", server(queue_usage=0.6), "60% full"),
    Case(
        "notify_queue_filling",
        replace(
            server(queue_usage=0.2),
            sessions=[
                {"pid": 77, "role": "app", "application": "psql", "state": "idle in transaction", "seconds": 90.0}
            ],
        ),
        "20% full",
        "pg_terminate_backend(77)",
    ),
    Case(
        "old_transaction",
        replace(
            HEALTHY,
            sessions=[{"pid": 78, "role": "app", "application": "", "state": "idle in transaction", "seconds": 9000.0}],
        ),
        "session 78 of role app, application without a name has been in one transaction for 2 h (idle in transaction)",
        "pg_terminate_backend(78)",
    ),
    Case(
        "idle_slot",
        replace(
            HEALTHY, slots=[{"name": "old", "kind": "logical", "database": "d", "wal_status": "reserved", "bytes": 5e8}]
        ),
        "logical replication slot old; it keeps 500 MB",
        "pg_drop_replication_slot('old')",
    ),
    Case("clock_skew", server(skew=5.0), "Postgres is 5.0 s ahead of"),
    Case("clock_skew", redis(skew=-3.0), "Redis is 3.0 s behind"),
    Case("postgres_plaintext", server(address="8.8.8.8"), "no TLS", "sslmode"),
    Case("schema_missing", schema("missing", "schema notifiws is missing"), "is missing", "notifiws migrate"),
    Case("schema_old", schema("old"), "does not fit", "notifiws migrate"),
    Case("schema_too_new", schema("too_new", fix="upgrade notifiws"), "does not fit", "upgrade notifiws"),
    Case("schema_foreign", schema("foreign"), "does not fit", "DROP SCHEMA"),
    Case("not_owner", schema("not_owner", owner="boss", is_owner=False), "belongs to role boss", "GRANT boss TO"),
    Case("schema_newer", replace(HEALTHY, schema=Schema(version=3, wanted=2)), "has version 3"),
    Case("functions_differ", replace(HEALTHY, schema=Schema(pending=["functions"])), "functions", "notifiws migrate"),
    Case("superuser", server(superuser=True), "a superuser"),
    Case(
        "superuser",
        replace(HEALTHY, schema=Schema(owner="postgres", owner_superuser=True)),
        "schema notifiws belongs to postgres, a superuser",
    ),
    Case(
        "log_public",
        replace(HEALTHY, grants=[{"name": "notifiws.outbox", "role": None, "privilege": "SELECT"}]),
        "PUBLIC has SELECT on notifiws.outbox",
        "REVOKE ALL ON notifiws.outbox FROM PUBLIC",
    ),
    Case(
        "log_writers",
        replace(HEALTHY, grants=[{"name": "notifiws.outbox", "role": "App", "privilege": "INSERT"}]),
        "role App has INSERT on notifiws.outbox",
        'REVOKE INSERT ON notifiws.outbox FROM "App"',
    ),
    Case("emitter_grants", replace(HEALTHY, emitter={"there": False, "may": False}), "is gone", "CREATE ROLE"),
    Case("emitter_grants", replace(HEALTHY, emitter={"there": True, "may": False}), "may not call", "GRANT EXECUTE"),
    Case("reader_away", reader(away="h:1/d: refused"), "h:1/d"),
    Case("reader_is_owner", reader(is_owner=True, role="boss"), "role boss, the owner", "notifiws_reader"),
    Case(
        "reader_grants",
        reader(lacks=["notifiws.outbox"], role="web"),
        "notifiws.outbox",
        "GRANT notifiws_reader TO web",
    ),
    Case("reader_elsewhere", reader(same_database=False), "another database"),
    Case(
        "watch_not_in_force",
        replace(HEALTHY, watches=[{**WATCH, "in_force": False, "problem": "triggers are missing: watch it again"}]),
        "triggers are missing",
        "notifiws watch public.ventas --channel sales",
    ),
    Case(
        "watch_not_in_force",
        replace(
            HEALTHY,
            watches=[{**WATCH, "in_force": False, "problem": "triggers are disabled: alter table … enable trigger"}],
            triggers=[
                {"watched": "public.ventas", "channel": "sales", "table": "public.v1", "name": "n1", "always": True},
                {"watched": "public.ventas", "channel": "sales", "table": "public.v2", "name": "n2", "always": False},
                {"watched": "public.other", "channel": "sales", "table": "public.o", "name": "n3", "always": False},
            ],
        ),
        "triggers are disabled",
        "ALTER TABLE public.v1 ENABLE ALWAYS TRIGGER n1; ALTER TABLE public.v2 ENABLE TRIGGER n2",
    ),
    Case(
        "watch_not_in_force",
        replace(HEALTHY, watches=[{**WATCH, "in_force": False, "problem": "what etl writes …: watch it with always"}]),
        "what etl writes",
        "notifiws watch public.ventas --channel sales --always",
    ),
    Case(
        "watch_not_in_force",
        replace(
            HEALTHY, watches=[{**WATCH, "in_force": False, "condition": "x", "problem": "stopped, since rows would"}]
        ),
        "stopped",
        "notifiws watch public.ventas --channel sales --when '…'",
    ),
    Case(
        "watch_not_in_force",
        replace(HEALTHY, watches=[{**WATCH, "in_force": False, "problem": "x: select notifiws.refresh_watches(), or"}]),
        "x",
        "SELECT notifiws.refresh_watches()",
    ),
    Case(
        "watch_not_in_force",
        replace(HEALTHY, watches=[{**WATCH, "in_force": False, "problem": "partitions that are foreign tables"}]),
        "foreign tables",
        "detach",
    ),
    Case(
        "watch_not_in_force",
        replace(HEALTHY, watches=[{**WATCH, "in_force": False, "problem": "the table is gone: unwatch it"}]),
        "gone",
        "notifiws unwatch public.ventas --channel sales",
    ),
    Case(
        "watch_not_in_force",
        replace(HEALTHY, watches=[{**WATCH, "in_force": False, "problem": "news", "mend": "do this"}]),
        "news",
        "do this",
    ),
    Case(
        "watch_changed",
        replace(
            HEALTHY,
            watches=[
                {
                    **WATCH,
                    "columns": ["id", "gone"],
                    "problem": "changed: a chosen column is gone, the rest is captured",
                }
            ],
        ),
        "a chosen column is gone",
        "notifiws watch public.ventas --channel sales --columns id",
    ),
    Case(
        "watch_changed",
        replace(HEALTHY, watches=[{**WATCH, "problem": "changed: grant select on it to owner again"}]),
        "grant select",
        "GRANT SELECT ON public.ventas TO owner",
    ),
    Case(
        "apply_not_captured",
        replace(
            HEALTHY,
            watches=[{**WATCH, "events": ["insert"], "columns": ['a"b'], "condition": "new.x = 'y'", "present": None}],
            tables=[{**TABLE, "applied": True}],
        ),
        "a subscription writes to public.ventas",
        "notifiws watch public.ventas --channel sales --events insert --columns 'a\"b' "
        "--when 'new.x = '\"'\"'y'\"'\"'' --always",
    ),
    Case(
        "watch_unlogged",
        replace(HEALTHY, tables=[{**TABLE, "unlogged": True}]),
        "is unlogged",
        "ALTER TABLE public.ventas SET LOGGED",
    ),
    Case(
        "shared_channel",
        replace(HEALTHY, watches=[WATCH, {**WATCH, "table": "public.pedidos"}]),
        "channel sales is written to by 2 watches",
    ),
    Case(
        "live_query_failing",
        replace(HEALTHY, live_queries=[{"channel": "totals", "error": "division by zero", "errors": 3}]),
        "totals fails: division by zero",
    ),
    Case(
        "adopted_and_watched",
        replace(HEALTHY, adopted=[{"pg_channel": "Sales Channel", "channel": "sales", "named": True}]),
        "watches public.ventas",
        "notifiws unadopt 'Sales Channel'",
    ),
    Case(
        "adopted_unsent",
        replace(HEALTHY, adopted=[{"pg_channel": "nobody", "channel": "x", "named": False}]),
        "names NOTIFY channel nobody",
    ),
    Case(
        "notify_trigger",
        replace(HEALTHY, watches=[], notifiers=[NOTIFIER]),
        "trigger new_sale on public.ventas sends NOTIFY sales_channel",
        "notifiws watch public.ventas --channel sales --events insert, or, as it is: "
        "notifiws adopt sales_channel --channel sales",
    ),
    Case(
        "notify_trigger",
        replace(
            HEALTHY,
            watches=[],
            notifiers=[{**NOTIFIER, "narrowed": True}],
            adopted=[{"pg_channel": "sales_channel", "channel": "sold", "named": True}],
        ),
        "relayed on channel sold",
        "notifiws watch public.ventas --channel sold --events insert --when '…'; then drop the trigger and "
        "notifiws unadopt sales_channel",
    ),
    Case("notify_trigger", replace(HEALTHY, notifiers=[NOTIFIER]), "the table is watched", "DROP TRIGGER new_sale ON"),
    Case(
        "notify_trigger",
        replace(HEALTHY, notifiers=[{**NOTIFIER, "source": "perform pg_notify('a_' || tg_table_name, '')"}]),
        "puts together",
        "notifiws watch public.ventas --channel CHANNEL",
    ),
    Case("no_leader", replace(HEALTHY, locks=[]), "no listener leads", "notifiws listener"),
    Case(
        "leader_lock_taken",
        replace(HEALTHY, locks=[{**LEADER, "ours": False, "application": "psql"}]),
        "application psql, holds the leader's",
        "pg_terminate_backend(10)",
    ),
    Case(
        "lock_held",
        replace(HEALTHY, locks=[LEADER, {**LEADER, "ours": False, "key": 5, "application": "psql", "seconds": 60.0}]),
        "psql (pid 10) holds the lock of watch and unwatch",
        "pg_terminate_backend(10)",
    ),
    Case(
        "lock_held",
        replace(HEALTHY, locks=[LEADER, {**LEADER, "key": 5, "ours": False, "application": None, "pid": None}]),
        "watch and unwatch",
        "ROLLBACK PREPARED",
    ),
    Case("lagging", log(lag=60.0), "has waited 60 s for a tick"),
    Case("lagging", redis(beat={**BEAT, "lag_seconds": 33.0}), "has waited 33 s to be published"),
    Case("leader_elsewhere", redis(beat=None), "has never beaten"),
    Case("leader_elsewhere", redis(beat_age=600.0), "has not beaten for 10 min"),
    Case("redis_epoch", redis(epoch="bbbbbbbb"), "Redis has bbbbbbbb", "NOTIFIWS_NAMESPACE"),
    Case("redis_epoch", replace(redis(beat={**BEAT, "epoch": "cccccccc"}), locks=[]), "Redis has cccccccc"),
    Case("redis_ahead", redis(mark=("aaaaaaaa", 9)), "Redis has tick 9"),
    Case("log_broken", log(broken="another system identifier"), "another system identifier"),
    Case("partition_missing", log(outbox_partitions=7), "7 of its 8", "ALTER TABLE notifiws.outbox ATTACH PARTITION"),
    Case("retention_behind", log(oldest=86400.0 * 3), "goes back 72 h"),
    Case("log_size", replace(log(size=900_000_000), local=Local("jwt", log_bytes=10**9)), "900 MB of the 1000 MB"),
    Case("redis_away", Facts(redis_away="127.0.0.1:1/0: Redis does not answer"), "does not answer", "REDIS_URL"),
    Case("redis_version", redis(version="6.0.16"), "6.0.16"),
    Case("redis_evicts", redis(policy="allkeys-lru", maxmemory=10**9), "allkeys-lru", "noeviction"),
    Case("redis_evicts", redis(policy="allkeys-lru", maxmemory=None), "allkeys-lru"),
    Case("redis_evicts_expiring", redis(policy="volatile-ttl", maxmemory=10**9), "volatile-ttl", "noeviction"),
    Case("redis_memory", redis(maxmemory=10**9, used_memory=95 * 10**7), "950 MB of 1000 MB"),
    Case("redis_not_persistent", redis(aof=False, save=""), "nothing to disk", "appendonly yes"),
    Case("redis_cannot_save", redis(cannot_save="its last snapshot failed"), "its last snapshot failed"),
    Case("redis_replica", redis(role="slave"), "is a replica", "primary"),
    Case("redis_cluster", redis(cluster=True), "node of a cluster", "cluster=true"),
    Case("redis_pubsub_buffer", redis(pubsub_limit=(10**6, 0, 0)), "is 1000000 bytes"),
    Case("redis_bulk_limit", redis(bulk_limit=10**6), "is 1000000 bytes"),
    Case("redis_acl", redis(refused=["XADD"], user="app"), "user app may not run XADD", "ACL SETUSER"),
    Case(
        "service_not_ready",
        replace(
            HEALTHY,
            services=[Service("node 1", "http://h:1", ready=False, reasons=[{"code": "redis", "message": "is away"}])],
        ),
        "node 1 is not ready: redis: is away",
    ),
    Case(
        "service_warning",
        replace(HEALTHY, services=[Service("l", "http://h:1", warnings=[{"code": "doorbell", "message": "held"}])]),
        "l warns: doorbell: held",
    ),
    Case(
        "versions_differ",
        replace(HEALTHY, services=[Service("node 1", "http://127.0.0.1:1", version="9.9")]),
        "node 1 9.9, this command 0",
    ),
    Case("auth_open", local(auth="none", host="0.0.0.0", on_loopback=False), "0.0.0.0", "jwt"),
    Case(
        "auth_open", replace(HEALTHY, services=[Service("n", "http://10.0.0.1:8000", open=True)]), "reachable by others"
    ),
    Case("auth_open", replace(HEALTHY, services=[Service("n", "http://127.0.0.1:1", open=True)]), "although"),
    Case("auth_none", local(auth="none"), "on loopback"),
    Case("jwt_secret_short", local(jwt_secret_bytes=6), "6 bytes"),
    Case("secret_readable", local(readable=["/srv/.env"]), "/srv/.env", "chmod o-rwx /srv/.env"),
    Case("unknown_setting", local(unknown=["NOTIFIWS_PROT"]), "NOTIFIWS_PROT"),
    Case("settings_refused", local(refusal="NOTIFIWS_AUTH: not set"), "NOTIFIWS_AUTH: not set"),
]


def findings(code: str, facts: Facts) -> list[Finding]:
    return [finding for finding in judge(facts).findings if finding.code == code]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.code)
def test_a_check_says_what_is_wrong_and_what_mends_it(case: Case) -> None:
    (finding,) = findings(case.code, case.facts)
    assert case.what in finding.what
    assert case.fix in finding.fix
    assert finding.why


def test_every_check_has_a_case() -> None:
    assert {case.code for case in CASES} == {check.code for check in CHECKS}


def test_healthy_facts_have_no_finding() -> None:
    report = judge(HEALTHY)
    assert (report.findings, report.exit_code) == ([], 0)


def test_nothing_known_is_nothing_found() -> None:
    report = judge(Facts(local=Local(auth="jwt")))
    assert (report.findings, report.exit_code) == ([], 0)


@pytest.mark.parametrize(
    "facts",
    [
        # One finding a cause, and none for what is harmless.
        redis(policy="allkeys-lru"),  # no maxmemory: never acts
        redis(save="3600 1", aof=False),
        replace(redis(epoch="bbbbbbbb", beat=None), locks=[]),  # restored, and no listener yet
        replace(setting("max_prepared_transactions", "10"), role_settings=[role("notifiws.doorbell", "off")]),
        replace(HEALTHY, locks=[LEADER, {**LEADER, "key": 2, "application": "notifiws doorbell"}]),
        replace(HEALTHY, locks=[LEADER, {**LEADER, "key": 2, "exclusive": False, "application": "app"}]),
        log(oldest=86400.0 + 4 * 3600),
        local(on_loopback=False, host="0.0.0.0"),
        server(address="10.1.2.3"),
        server(address=None),
    ],
)
def test_no_finding(facts: Facts) -> None:
    assert [f.code for f in judge(facts).findings if f.severity != "note" and f.code != "no_leader"] == []


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        (HEALTHY, 0),
        (replace(HEALTHY, locks=[]), 0),
        (setting("fsync", "off"), 1),
        (schema("missing"), 6),
        (replace(schema("missing"), redis_away="away"), 5),
        (replace(setting("fsync", "off"), redis_away="away"), 5),
        (Facts(postgres_away="away", redis_away="away"), 4),
    ],
)
def test_exit_codes(facts: Facts, code: int) -> None:
    report = judge(facts)
    assert report.exit_code == code
    assert report.as_json()["ok"] is (code == 0)


def test_errors_come_first() -> None:
    facts = replace(setting("fsync", "off"), locks=[], notifiers=[NOTIFIER])
    assert [finding.severity for finding in judge(facts).findings] == ["error", "warning", "note"]
