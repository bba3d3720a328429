"""The Redis or Valkey between listener and nodes: does it keep what it is given, and let us do what we need to."""

from collections.abc import Iterator
from typing import Final

from notifiws.doctor.facts import Facts, seen
from notifiws.doctor.finding import Found, Severity, check

# XTRIM MINID came with it.
OLDEST: Final = (6, 2)
MB: Final = 1_000_000
# A burst of one channel to a node that is slow for a moment; Redis' own default is twice as much.
PUBSUB_HARD: Final = 16 * MB
PUBSUB_SOFT: Final = 4 * MB
# A publication holds at least one event, and a row may have megabytes.
BULK: Final = 64 * MB
FULL: Final = 0.9


@check(
    Severity.ERROR,
    ends=5,
    mend="start Redis, or correct REDIS_URL",
)
def redis_away(facts: Facts) -> Iterator[Found]:
    """events wait in the log until it answers; clients stay connected and hear nothing."""
    if facts.redis_away:
        yield Found(facts.redis_away)


@check(
    Severity.ERROR,
    mend="upgrade to Redis 6.2, Valkey 7.2 or newer",
)
def redis_version(facts: Facts) -> Iterator[Found]:
    """streams cannot be trimmed there: the relay's script fails, and nothing is published."""
    redis = seen(facts.redis)
    numbers = tuple(int(word) for word in redis.version.split(".")[:2] if word.isdigit())
    if len(numbers) == 2 and numbers < OLDEST:
        yield Found(f"{redis.product} is {redis.version}")


@check(
    Severity.ERROR,
    mend="CONFIG SET maxmemory-policy noeviction, and the same in its configuration file",
)
def redis_evicts(facts: Facts) -> Iterator[Found]:
    """with its memory full it throws away whole streams in silence, and a client that resumes may miss events without
    being told."""
    redis = seen(facts.redis)
    policy = seen(redis.policy)
    # Without maxmemory no policy ever acts; it is one CONFIG SET away from it, which is not ours to foresee.
    if policy.startswith("allkeys") and redis.maxmemory != 0:
        yield Found(f"maxmemory-policy is {policy}")


@check(
    Severity.WARNING,
    mend="CONFIG SET maxmemory-policy noeviction, and the same in its configuration file",
)
def redis_evicts_expiring(facts: Facts) -> Iterator[Found]:
    """streams have no expiry and are safe; keys that have one, such as tickets and revoked tokens, may be thrown away
    early when memory is full."""
    redis = seen(facts.redis)
    policy = seen(redis.policy)
    if policy.startswith("volatile") and redis.maxmemory != 0:
        yield Found(f"maxmemory-policy is {policy}")


@check(
    Severity.WARNING,
    mend="CONFIG SET maxmemory to more, or lower NOTIFIWS_HISTORY_BYTES or NOTIFIWS_HISTORY",
)
def redis_memory(facts: Facts) -> Iterator[Found]:
    """full, it refuses publications: they wait in the log, and clients with them."""
    redis = seen(facts.redis)
    used, most = seen(redis.used_memory), seen(redis.maxmemory)
    if most and used > FULL * most:
        yield Found(f"{used / MB:.0f} MB of {most / MB:.0f} MB are in use")


@check(
    Severity.WARNING,
    mend="CONFIG SET appendonly yes, and the same in its configuration file",
)
def redis_not_persistent(facts: Facts) -> Iterator[Found]:
    """a restart empties the Redis window: clients that were away resume from the log, or fetch afresh."""
    redis = seen(facts.redis)
    if redis.aof is False and seen(redis.save).strip() == "":
        yield Found("Redis writes nothing to disk: appendonly is no, save is empty")


@check(
    Severity.ERROR,
    mend="look at its disk and its log",
)
def redis_cannot_save(facts: Facts) -> Iterator[Found]:
    """it refuses writes until it can save again: publications wait in the log."""
    if why := seen(facts.redis).cannot_save:
        yield Found(f"Redis cannot save its data: {why}")


@check(
    Severity.ERROR,
    mend="point REDIS_URL at the primary",
)
def redis_replica(facts: Facts) -> Iterator[Found]:
    """a replica takes no writes: nothing is published."""
    if seen(facts.redis).role != "master":
        yield Found(f"{seen(facts.redis).where} is a replica")


@check(
    Severity.ERROR,
    mend="add ?cluster=true to REDIS_URL, or point it at a Redis that is no cluster",
)
def redis_cluster(facts: Facts) -> Iterator[Found]:
    """keys of other slots are refused with MOVED, so most channels are not published."""
    redis = seen(facts.redis)
    if redis.cluster:
        yield Found(f"{redis.where} is a node of a cluster, and REDIS_URL does not say so")


@check(
    Severity.WARNING,
    mend="CONFIG SET client-output-buffer-limit 'pubsub 64mb 32mb 60', and the same in its configuration file",
)
def redis_pubsub_buffer(facts: Facts) -> Iterator[Found]:
    """a node that is slow for a moment is cut, and reads what it missed from the stream, again and again."""
    hard, soft, seconds = seen(seen(facts.redis).pubsub_limit)
    if 0 < hard < PUBSUB_HARD or (0 < soft < PUBSUB_SOFT and seconds):
        yield Found(f"client-output-buffer-limit of pubsub is {hard} bytes, or {soft} for {seconds} s")


@check(
    Severity.WARNING,
    mend="CONFIG SET proto-max-bulk-len 512mb, and the same in its configuration file",
)
def redis_bulk_limit(facts: Facts) -> Iterator[Found]:
    """a publication that is larger is refused for ever, and everything after it waits."""
    if (most := seen(seen(facts.redis).bulk_limit)) < BULK:
        yield Found(f"proto-max-bulk-len is {most} bytes")


@check(
    Severity.ERROR,
    mend="ACL SETUSER <user> ~NAMESPACE:* &NAMESPACE:* +@all -@admin -@dangerous +info",
)
def redis_acl(facts: Facts) -> Iterator[Found]:
    """listener or nodes are refused what they need: nothing is published, or nothing heard."""
    redis = seen(facts.redis)
    if refused := seen(redis.refused):
        yield Found(f"Redis' user {redis.user} may not run {', '.join(refused)} on the namespace")
