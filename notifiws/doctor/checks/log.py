"""The log and who relays it: leadership, lag, retention, and whether Redis tells the same story as the log."""

from collections.abc import Iterator
from typing import Final

from notifiws.doctor.checks.postgres import ago
from notifiws.doctor.facts import Facts, Row, seen
from notifiws.doctor.finding import Found, Severity, check

LEADER, DOORBELL, MIGRATE, CUT, WATCH = 1, 2, 3, 4, 5
_JOBS: Final = {DOORBELL: "the doorbell", MIGRATE: "migrate", CUT: "the cut", WATCH: "watch and unwatch"}
# The leader beats every second; a standby takes over within ten.
BEAT_SECONDS: Final = 15.0
LAG_SECONDS: Final = 10.0
HELD_SECONDS: Final = 30.0
# How much of NOTIFIWS_LOG_BYTES may be used before it is said.
NEARLY: Final = 0.8


def _leader(facts: Facts) -> Row | None:
    return next((row for row in seen(facts.locks) if row["key"] == LEADER and row["exclusive"]), None)


def _kill(row: Row) -> str:
    if row["pid"] is None:
        return "it is a prepared transaction: SELECT gid FROM pg_prepared_xacts, then ROLLBACK PREPARED '…'"
    return f"SELECT pg_terminate_backend({row['pid']})"


@check(
    Severity.WARNING,
    mend="notifiws listener, with the same DATABASE_URL and REDIS_URL",
)
def no_leader(facts: Facts) -> Iterator[Found]:
    """commits are captured and wait in the log until a listener leads; nothing is lost, nothing arrives."""
    seen(facts.log)
    if _leader(facts) is None:
        yield Found("no listener leads")


@check(
    Severity.ERROR,
    mend="SELECT pg_terminate_backend(pid)",
)
def leader_lock_taken(facts: Facts) -> Iterator[Found]:
    """no listener can lead while somebody else holds the leader's lock: events wait in the log."""
    holder = _leader(facts)
    if holder is not None and not holder["ours"]:
        who = f"session {holder['pid']} of role {holder['role']}, application {holder['application'] or 'without name'}"
        yield Found(f"{who}, holds the leader's advisory lock (1852797033, 1), and is no listener", _kill(holder))


@check(
    Severity.WARNING,
    mend="end that transaction, or SELECT pg_terminate_backend(pid)",
)
def lock_held(facts: Facts) -> Iterator[Found]:
    """whoever needs that lock waits or is refused: a listener that follows changed tables, a watch, a migrate, the
    cut; with the doorbell's, every writer rings."""
    for row in seen(facts.locks):
        if row["key"] not in _JOBS or not row["exclusive"]:
            continue
        held_long = (row["seconds"] or 0.0) > HELD_SECONDS
        # The doorbell's is a session lock of the listener's, held as long as it sleeps.
        if held_long if row["ours"] else row["key"] == DOORBELL or held_long or row["pid"] is None:
            yield Found(
                f"{row['application'] or 'a session without a name'} (pid {row['pid']}) holds the lock of "
                f"{_JOBS[row['key']]} (1852797033, {row['key']})",
                _kill(row),
            )


@check(
    Severity.ERROR,
    mend="look at the listener's /readyz and log; with no leader: notifiws listener",
)
def lagging(facts: Facts) -> Iterator[Found]:
    """committed events have not reached anybody for that long."""
    log = seen(facts.log)
    if log.lag > LAG_SECONDS:
        yield Found(f"the oldest event in the log has waited {ago(log.lag)} for a tick")
        return
    redis = facts.redis
    if redis is None or redis.beat is None or redis.beat.get("epoch") != log.epoch:
        return
    behind = float(redis.beat.get("lag_seconds") or 0.0)
    if (redis.beat_age or 0.0) < BEAT_SECONDS and behind > LAG_SECONDS:
        yield Found(f"the newest tick has waited {ago(behind)} to be published to Redis")


@check(
    Severity.ERROR,
    mend="give listener and nodes the same REDIS_URL and NOTIFIWS_NAMESPACE; the listener's /readyz says whether it "
    "reaches its Redis",
)
def leader_elsewhere(facts: Facts) -> Iterator[Found]:
    """events go where no node of yours looks, or nowhere."""
    redis, log, leader = seen(facts.redis), seen(facts.log), _leader(facts)
    if leader is None or not leader["ours"]:
        return
    if redis.beat is None or (redis.beat_age or 0.0) > BEAT_SECONDS:
        when = "has never beaten" if redis.beat is None else f"has not beaten for {ago(redis.beat_age or 0.0)}"
        yield Found(f"a listener leads (pid {leader['pid']}), and {when} in this Redis and namespace ({redis.where})")
    elif redis.beat.get("epoch") != log.epoch:
        yield Found(
            f"a listener leads (pid {leader['pid']}), and another one's heart beats in this Redis and namespace"
        )


@check(
    Severity.ERROR,
    mend="give each deployment a NOTIFIWS_NAMESPACE of its own",
)
def redis_epoch(facts: Facts) -> Iterator[Found]:
    """two databases publish into one namespace: nodes hold now one's epoch, now the other's, and clients are told to
    fetch afresh each time."""
    redis, log = seen(facts.redis), seen(facts.log)
    fresh = redis.beat is not None and (redis.beat_age or 0.0) <= BEAT_SECONDS
    foreign = fresh and redis.beat is not None and redis.beat.get("epoch") != log.epoch
    if foreign or (_leader(facts) is not None and redis.epoch not in (None, log.epoch)):
        theirs = redis.beat.get("epoch") if foreign and redis.beat else redis.epoch
        yield Found(f"the log's epoch is {log.epoch}, and Redis has {theirs}")


@check(
    Severity.WARNING,
    mend="nothing, if it was restored or a lagging standby was promoted; else point DATABASE_URL at the right server",
)
def redis_ahead(facts: Facts) -> Iterator[Found]:
    """the database is an earlier one than what was published: the next leader begins a new epoch, and clients are told
    to fetch afresh."""
    redis, log = seen(facts.redis), seen(facts.log)
    if redis.mark is not None and redis.mark[0] == log.epoch and redis.mark[1] > log.tick:
        yield Found(f"Redis has tick {redis.mark[1]} of epoch {log.epoch}, and the log ends with {log.tick}")


@check(
    Severity.WARNING,
    mend="nothing, if it was restored on purpose; else point DATABASE_URL at the right server",
)
def log_broken(facts: Facts) -> Iterator[Found]:
    """this cluster is not the one, or not at the point, that the log was written at: the next leader begins a new
    epoch, and clients are told to fetch afresh."""
    if reason := seen(facts.log).broken:
        yield Found(f"the log cannot be gone on with: {reason}")


@check(
    Severity.ERROR,
    mend="ALTER TABLE notifiws.outbox ATTACH PARTITION notifiws.outbox_N FOR VALUES IN (N), and tick_N likewise",
)
def partition_missing(facts: Facts) -> Iterator[Found]:
    """a writer whose slot has no partition fails."""
    log = seen(facts.log)
    for name, count in (("outbox", log.outbox_partitions), ("tick", log.tick_partitions)):
        if count < 8:
            yield Found(
                f"notifiws.{name} has {count} of its 8 partitions",
                f"ALTER TABLE notifiws.{name} ATTACH PARTITION notifiws.{name}_N FOR VALUES IN (N), for each N of 0 to "
                "7 that pg_inherits lacks",
            )


@check(
    Severity.WARNING,
    mend="notifiws listener; with one leading, its log says what it waits for",
)
def retention_behind(facts: Facts) -> Iterator[Found]:
    """old slots are not emptied, and the log grows: no leader, or a session that keeps a lock on them."""
    log = seen(facts.log)
    most = facts.local.retention + 3 * log.slot_seconds
    if log.oldest > most:
        yield Found(f"the log goes back {ago(log.oldest)}, retention is {ago(facts.local.retention)}")


@check(
    Severity.WARNING,
    mend="raise NOTIFIWS_LOG_BYTES, lower NOTIFIWS_RETENTION, or watch fewer columns",
)
def log_size(facts: Facts) -> Iterator[Found]:
    """past it the retention is shortened, so that the disk does not fill; clients away for longer fetch afresh."""
    log, most = seen(facts.log), facts.local.log_bytes
    if most and log.size > NEARLY * most:
        yield Found(f"the log has {log.size / 1e6:.0f} MB of the {most / 1e6:.0f} MB that NOTIFIWS_LOG_BYTES allows")
