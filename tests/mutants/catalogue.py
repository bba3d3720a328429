"""Mutants of the product: each breaks one promise, in a way that somebody could. `notifiws verify` has to catch all.

A mutant is a few replacements of text in a copy of the sources. Each `old` must be there exactly once: where the
product has moved on, the mutant fails loudly and is written anew.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """Replace one text in one file."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """`faults`: what it takes to show it; a mutant that needs none is caught by the workload alone."""

    name: str
    breaks: str
    faults: str
    edits: tuple[Edit, ...]


MUTANTS = (
    Mutant(
        "skip-tick",
        "one tick in a hundred and fifty is marked as published, and is not",
        "none",
        (
            Edit(
                "listener_service/relay.py",
                "        await self._see_through(cut.tick, cut.rows)\n",
                "        if cut.tick.number % 150 == 149:\n"
                "            await self._complete(cut.tick)\n"
                "            return True\n"
                "        await self._see_through(cut.tick, cut.rows)\n",
            ),
        ),
    ),
    Mutant(
        "publish-twice",
        "a new leader publishes the last tick again, as the next one",
        "takeover",
        (
            Edit(
                "listener_service/relay.py",
                "marked.tick == last.number)\n",
                "marked.tick == last.number)\n"
                "        async with self._log.pages(last, 0) as pages:\n"
                "            async for rows in pages:\n"
                "                await self._push(self._batch(Tick(last.number + 1, last.at), rows))\n",
            ),
        ),
    ),
    Mutant(
        "ignore-prev",
        "nodes do not look at `prev`",
        "pubsub,reset:node-redis,kill:valkey",
        (
            Edit(
                "ws_service/chain.py",
                "    if publication.prev.order > position.order:\n        return Step.GAP\n",
                "",
            ),
        ),
    ),
    Mutant(
        "cut-by-id",
        "the log is cut by `id > last`: what commits late is skipped",
        "none",
        (
            Edit(
                "db/functions/cut.sql",
                "    last_number bigint;\n    s1 pg_snapshot;\n",
                "    last_id bigint := coalesce(nullif(current_setting('mutant.last', true), ''), '0')::bigint;\n"
                "    last_number bigint;\n    s1 pg_snapshot;\n",
            ),
            Edit(
                "db/functions/cut.sql",
                "o.tx < r.hi offset 0) o\n        limit max_rows + 1\n",
                "o.tx < r.hi and o.id > last_id offset 0) o\n        limit max_rows + 1\n",
            ),
            Edit(
                "db/functions/cut.sql",
                "o.tx < r.hi offset 0) o\n        order by o.id;\nend\n",
                "o.tx < r.hi and o.id > last_id offset 0) o\n        order by o.id;\n"
                "    perform set_config('mutant.last', greatest(last_id, max(o.id))::text, false)\n"
                "        from notifiws.tx_ranges(s1, s2) r, notifiws.outbox o where o.tx >= r.lo and o.tx < r.hi;\n"
                "end\n",
            ),
        ),
    ),
    Mutant(
        "resume-off-by-one",
        "a resumed client is given what follows from the second publication on",
        "none",
        (
            Edit(
                "ws_service/resume.py",
                "    position, page = start.beneath or start.position, start.page\n",
                "    position, page = start.beneath or start.position, start.page\n"
                "    if page is not None and page.publications:\n"
                "        position = page.publications[0].position\n",
            ),
        ),
    ),
    Mutant(
        "resume-inside",
        "a position inside a publication gets the event at it once more",
        "none",
        (Edit("shared/publication.py", "if record.id > after.event)", "if record.id >= after.event)"),),
    ),
    Mutant(
        "early-subscribed",
        "`subscribed` is said before the node follows the channel",
        "pubsub,reset:node-redis",
        (
            Edit(
                "ws_service/endpoints/v1.py",
                "from ws_service.resume import Past, catch_up",
                "from ws_service.resume import Past, Start, catch_up",
            ),
            Edit(
                "ws_service/endpoints/v1.py",
                "                start = await locate_patiently(feed, node.broker, node.retained, past)\n",
                "                if past.wanted or node.broker.epoch is None:\n"
                "                    start = await locate_patiently(feed, node.broker, node.retained, past)\n"
                "                else:\n"
                "                    start = Start(await node.retained.head(request.channel, node.broker.epoch))\n",
            ),
            Edit(
                "ws_service/endpoints/v1.py",
                "            await catch_up(feed, node.retained, node.hub,",
                "            start = start if past.wanted else Start(await feed.ready())\n"
                "            await catch_up(feed, node.retained, node.hub,",
            ),
        ),
    ),
    Mutant(
        "turn-around",
        "the events of one publication, all but the last, are in the opposite order",
        "none",
        (
            Edit(
                "shared/publication.py",
                "    if start < len(events):\n        parts.append(events[start:])\n",
                "    if start < len(events):\n        parts.append([*events[start:-1][::-1], events[-1]])\n",
            ),
        ),
    ),
)
