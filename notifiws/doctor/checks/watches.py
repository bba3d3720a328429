"""What is captured: watches in force, what writes past them, what comes twice, and triggers of yours to replace."""

import re
import shlex
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from notifiws.doctor.facts import Facts, Row, seen
from notifiws.doctor.finding import Found, Severity, check

ALL_EVENTS: Final = ("insert", "update", "delete", "truncate")
# Bits of pg_trigger.tgtype, in the order of the events above.
_BITS: Final = {"insert": 4, "delete": 8, "update": 16, "truncate": 32}
# pg_notify('name', …) and NOTIFY name, inside a function's source. A name that is put together escapes it.
_CALL: Final = re.compile(r"\bpg_notify\s*\(\s*E?'((?:[^']|'')*)'\s*,", re.IGNORECASE)
_ANY_CALL: Final = re.compile(r"\bpg_notify\s*\(", re.IGNORECASE)
_COMMENT: Final = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_STATEMENT: Final = re.compile(
    r"(?:^|;|\bthen|\bbegin|\belse)\s*notify\s+(\"(?:[^\"]|\"\")+\"|[a-z_]\w*)", re.IGNORECASE
)


def watch_command(row: Row, channel: str | None = None) -> str:
    """The call that makes this watch again."""
    events, columns = row.get("events") or ALL_EVENTS, row.get("columns")
    present = row.get("present")
    if columns is not None and present:
        columns = [name for name in columns if name in present]
    words = ["notifiws", "watch", row["table"], "--channel", channel or row["channel"]]
    if set(events) != set(ALL_EVENTS):
        words += ["--events", ",".join(events)]
    if columns is not None:
        words += ["--columns", ",".join(_listed(name) for name in columns)]
    if row.get("condition"):
        words += ["--when", row["condition"]]
    if not row.get("snapshot", True):
        words.append("--no-snapshot")
    if row.get("always"):
        words.append("--always")
    return shlex.join(words)


def _listed(name: str) -> str:
    """As `--columns` reads it: a comma inside must not make other columns of it."""
    return '"' + name.replace('"', '""') + '"' if "," in name or name.startswith('"') else name


@check(
    Severity.ERROR,
    mend="notifiws watch TABLE --channel CHANNEL, again",
)
def watch_not_in_force(facts: Facts) -> Iterator[Found]:
    """changes of this table do not reach the log, or not all of them."""
    for row in seen(facts.watches):
        if not row["in_force"]:
            yield Found(f"the watch of {row['table']} on channel {row['channel']}: {row['problem']}", _mend(facts, row))


@check(
    Severity.WARNING,
    mend="the listener follows a changed table within seconds; else SELECT notifiws.refresh_watches()",
)
def watch_changed(facts: Facts) -> Iterator[Found]:
    """events of this watch go on, with what is left or by a slower way."""
    for row in seen(facts.watches):
        if row["in_force"] and row["problem"]:
            yield Found(f"the watch of {row['table']} on channel {row['channel']}: {row['problem']}", _mend(facts, row))


def _mend(facts: Facts, row: Row) -> str:
    """The view's own word, where it has one; else what its problem asks for."""
    problem = row["problem"] or ""
    if own := row.get("mend") or row.get("fix"):
        return str(own)
    if problem.startswith("the table is gone"):
        return shlex.join(["notifiws", "unwatch", row["table"], "--channel", row["channel"]])
    if "grant select" in problem:
        return f"GRANT SELECT ON {row['table']} TO {problem.partition(' to ')[2].removesuffix(' again')}"
    if "refresh_watches" in problem:
        return "SELECT notifiws.refresh_watches(); a listener that leads does it within seconds"
    if "triggers are disabled" in problem and (mend := _enable(facts, row)):
        return mend
    if "foreign tables" in problem:
        return "watch those in the database that they live in, or detach them"
    if problem.startswith("stopped"):
        return f"{watch_command({**row, 'condition': None})} --when '…', with a condition that fits the table as it is"
    return watch_command({**row, "always": row["always"] or problem.endswith("watch it with always")})


def _enable(facts: Facts, row: Row) -> str:
    """The watch's own triggers, on its table or on partitions of it."""
    off: dict[str, list[str]] = defaultdict(list)
    for each in facts.triggers or ():
        if (each["watched"], each["channel"]) == (row["table"], row["channel"]):
            off[each["table"]].append(f"ENABLE{' ALWAYS' if each['always'] else ''} TRIGGER {each['name']}")
    return "; ".join(f"ALTER TABLE {table} {', '.join(actions)}" for table, actions in off.items())


@check(
    Severity.ERROR,
    mend="notifiws watch TABLE --channel CHANNEL --always",
)
def apply_not_captured(facts: Facts) -> Iterator[Found]:
    """what logical replication writes fires only triggers that are always enabled: it never reaches the log."""
    whole = {(row["table"], row["channel"]): row for row in facts.watches or ()}
    for row in seen(facts.tables):
        if row["applied"] and not row["always"]:
            known = whole.get((row["table"], row["channel"]), row)
            yield Found(
                f"a subscription writes to {row['table']}, watched on channel {row['channel']} without always",
                watch_command({**known, "always": True}),
            )


@check(
    Severity.WARNING,
    mend="ALTER TABLE … SET LOGGED",
)
def watch_unlogged(facts: Facts) -> Iterator[Found]:
    """a crash empties the table without an event, and clients keep its rows."""
    for table in sorted({row["table"] for row in seen(facts.tables) if row["unlogged"]}):
        yield Found(f"watched table {table} is unlogged", f"ALTER TABLE {table} SET LOGGED")


@check(
    Severity.NOTE,
    mend="a channel a table, or snapshot => false where nobody asks for one",
)
def shared_channel(facts: Facts) -> Iterator[Found]:
    """a channel has snapshots only when one unconditional watch writes to it; clients that ask for one are told
    snapshot_unavailable."""
    by_channel: dict[str, list[Row]] = defaultdict(list)
    for row in seen(facts.watches):
        by_channel[row["channel"]].append(row)
    for channel, rows in sorted(by_channel.items()):
        if len(rows) > 1 and any(row["snapshot"] for row in rows):
            tables = ", ".join(row["table"] for row in rows)
            yield Found(f"channel {channel} is written to by {len(rows)} watches ({tables}), and they allow snapshots")


@check(
    Severity.WARNING,
    mend="SELECT notifiws.live_query('CHANNEL', …) with a query that runs, as the role that declared it",
)
def live_query_failing(facts: Facts) -> Iterator[Found]:
    """its clients keep the last result that there was; it is tried again at the next change."""
    for row in seen(facts.live_queries):
        yield Found(f"the live query of channel {row['channel']} fails: {row['error']}")


@check(
    Severity.WARNING,
    mend="notifiws unadopt PG_CHANNEL, once clients read the watch's events",
)
def adopted_and_watched(facts: Facts) -> Iterator[Found]:
    """each change comes twice to the channel's clients: once captured, once as the adopted NOTIFY."""
    watched = defaultdict(list)
    for row in seen(facts.watches):
        watched[row["channel"]].append(row["table"])
    for row in seen(facts.adopted):
        if tables := watched.get(row["channel"]):
            yield Found(
                f"channel {row['channel']} relays NOTIFY channel {row['pg_channel']} and watches {', '.join(tables)}",
                shlex.join(["notifiws", "unadopt", row["pg_channel"]]),
            )


@check(
    Severity.NOTE,
    mend="correct the name: notifiws unadopt PG_CHANNEL, notifiws adopt …",
)
def adopted_unsent(facts: Facts) -> Iterator[Found]:
    """nothing comes on this channel, unless an application sends that NOTIFY itself."""
    for row in seen(facts.adopted):
        if not row["named"]:
            yield Found(
                f"no function of this database names NOTIFY channel {row['pg_channel']}, relayed on {row['channel']}"
            )


@check(
    Severity.NOTE,
    mend="notifiws watch TABLE --channel CHANNEL instead of the trigger; notifiws adopt PG_CHANNEL --channel CHANNEL "
    "relays it as it is",
)
def notify_trigger(facts: Facts) -> Iterator[Found]:
    """NOTIFY reaches only who listens at that moment, fails the writer's commit above 8,000 bytes, and each of these
    commits waits for one lock of the whole database; a watch has none of that."""
    public = {row["pg_channel"]: row["channel"] for row in facts.adopted or ()}
    watched = defaultdict(set)
    for row in facts.watches or ():
        watched[row["table"]].add(row["channel"])
    for row in seen(facts.notifiers):
        table, names = row["table"], notified(row["source"])
        trigger = f"trigger {row['trigger']} on {table}"
        if not names and _ANY_CALL.search(_COMMENT.sub(" ", row["source"])):
            yield Found(
                f"{trigger} sends NOTIFY on a channel whose name it puts together",
                f"{_instead(row, 'CHANNEL')}, then drop the trigger",
            )
        for name in names:
            channel = public.get(name, channel_for(name))
            if name in public:
                fix = f"{_instead(row, channel)}; then drop the trigger and {shlex.join(['notifiws', 'unadopt', name])}"
                yield Found(f"{trigger} sends NOTIFY {name}, relayed on channel {channel}", fix)
            elif table in watched:
                on = ", ".join(sorted(watched[table]))
                fix = f"DROP TRIGGER {row['trigger']} ON {table}, once nobody listens to {name} itself"
                yield Found(f"{trigger} sends NOTIFY {name}; the table is watched on channel {on}", fix)
            else:
                adopt = shlex.join(["notifiws", "adopt", name, "--channel", channel])
                yield Found(f"{trigger} sends NOTIFY {name}", f"{_instead(row, channel)}, or, as it is: {adopt}")


def _instead(row: Row, channel: str) -> str:
    """The watch that replaces a trigger. What narrowed it is for its owner to say again."""
    if row["relkind"] not in ("r", "p"):
        return f"notifiws watch on the tables below {row['table']}"
    events = [event for event in ALL_EVENTS if row["type"] & _BITS[event]]
    narrowed = " --when '…'" if row["narrowed"] else ""
    return watch_command({"table": row["table"], "events": events}, channel) + narrowed


def notified(source: str) -> list[str]:
    """The NOTIFY channels that a function's source names, in order. Comments are not looked at."""
    source = _COMMENT.sub(" ", source)
    names = [match[1].replace("''", "'") for match in _CALL.finditer(source) if match[1]]
    for match in _STATEMENT.finditer(source):
        word = match[1]
        names.append(word[1:-1].replace('""', '"') if word[0] == '"' else word.lower())
    return list(dict.fromkeys(names))


def channel_for(name: str) -> str:
    """A public name for a NOTIFY channel, as near to it as the rules allow; `sales_channel` becomes `sales`."""
    plain = re.sub(r"[^a-z0-9_.:-]+", "_", name.lower()).strip("_.:-")
    return re.sub(r"_(channel|notify|notifications?|events?)$", "", plain) or "events"
