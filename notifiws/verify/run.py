"""One run: writers, clients and faults for so many seconds, then everything is healed, and everyone has to catch up.

It records; nothing is judged before the recording is over. The first signal ends a run early, and what was seen until
then is judged all the same.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import redis.asyncio as redis

from notifiws.stack.errors import StackError
from notifiws.verify.crowd import Crowd
from notifiws.verify.faults import Fault, possible
from notifiws.verify.nemesis import Nemesis
from notifiws.verify.rig import Rig
from notifiws.verify.spool import Spool
from notifiws.verify.statements import CHANNELS, SAYS, statement
from notifiws.verify.workload import (
    FAILURES,
    BulkWriter,
    SlowWriter,
    Speaker,
    Writer,
    connect,
    drop,
    hot_rows,
    prepare,
    read_truth,
)

_SETTLE_SECONDS: Final = 30.0
_FINISH_SECONDS: Final = 40.0


@dataclass(frozen=True)
class Options:
    """What was asked for."""

    seconds: float
    faults: Sequence[Fault]
    seed: int
    writers: int
    clients: int
    # How long something that must come may take, faults included.
    patience: float = 60.0


@dataclass
class Progress:
    """What a view may look at while the run runs."""

    options: Options
    spool: Spool
    phase: str = "starting"
    crowd: Crowd | None = None
    nemesis: Nemesis | None = None


class Run:
    """`record` it once; `stop` ends it early."""

    def __init__(self, rig: Rig, spool: Spool, options: Options) -> None:
        self.rig = rig
        self.progress = Progress(options, spool)
        self._options = options
        self._spool = spool
        self._stopping = asyncio.Event()
        self._written_off = asyncio.Event()
        # What kept the run from its proper end; the history is judged all the same.
        self.troubles: list[str] = []

    def stop(self) -> None:
        """End soon."""
        self._written_off.set()

    async def record(self) -> None:
        """Run. Raises StackError and workload.FAILURES when the stack can't even be begun with."""
        options, spool, progress = self._options, self._spool, self.progress
        await prepare(self.rig.database_url)
        crowd = Crowd(
            spool, self.rig.nodes, self.rig.database_url, options.clients, options.seed, patience=options.patience
        )
        progress.crowd = crowd
        spool.begin()
        try:
            try:
                await crowd.arrive()
            except TimeoutError:
                raise StackError("clients could not subscribe within a minute") from None
            faults = possible(options.faults, self.rig)
            nemesis = Nemesis(self.rig, spool, faults, options.seed, self._settled) if faults else None
            progress.nemesis = nemesis
            async with self._writing(await hot_rows(self.rig.database_url)):
                crowd.mingle()
                progress.phase = "running"
                hurting = asyncio.create_task(nemesis.run() if nemesis else asyncio.sleep(options.seconds))
                await self._for_so_long(options.seconds, hurting)
                progress.phase = "healing"
                await _ended(hurting)
                await self._try("the stack is not ready again", self.rig.ready(max(30.0, options.patience)))
                progress.phase = "settling"
                await crowd.settle()
            progress.phase = "catching up"
            await self._last_words(crowd)
            progress.phase = "reading the tables"
            await read_truth(self.rig.database_url, spool)
        finally:
            await crowd.leave()
            spool.close()

    async def clean_up(self) -> None:
        """Take verify's tables out of a stack that goes on."""
        await self._try("verify's tables could not be dropped", drop(self.rig.database_url))

    async def _for_so_long(self, seconds: float, hurting: "asyncio.Task[Any]") -> None:
        stop = asyncio.create_task(self._written_off.wait())
        try:
            left = seconds - self._spool.now
            await asyncio.wait((stop, hurting), timeout=max(0.0, left), return_when=asyncio.FIRST_COMPLETED)
            if hurting.done():
                hurting.result()
        finally:
            await _ended(stop)

    @asynccontextmanager
    async def _writing(self, hot: dict[str, list[int]]) -> AsyncIterator[None]:
        kinds: list[Callable[..., Writer]] = [Writer] * self._options.writers
        kinds += [SlowWriter, BulkWriter]
        writers = [
            kind(self.rig.database_url, self._spool, number, self._options.seed, self._stopping)
            for number, kind in enumerate(kinds, 1)
        ]
        for writer in writers:
            writer.hot = hot
        tasks = [asyncio.create_task(writer.run()) for writer in writers]
        try:
            yield
        finally:
            self._stopping.set()
            _, late = await asyncio.wait(tasks, timeout=_FINISH_SECONDS)
            for task in late:
                await _ended(task)
            if late:
                self.troubles.append(f"{len(late)} writers did not finish")
        for task in tasks:
            if not task.cancelled():
                task.result()

    async def _last_words(self, crowd: Crowd) -> None:
        """The last change of each channel: whoever has heard it has heard all."""
        speaker = Speaker(self.rig.database_url, self._spool, "last words")
        try:
            stamps = {channel: await speaker.say(channel) for channel in (*CHANNELS.values(), SAYS)}
        finally:
            speaker.close()
        patience = self._options.patience
        if not await crowd.hear(stamps, patience):
            self.troubles.append(f"not every client had caught up {patience:.0f} s after everything was healed")

    async def _settled(self, since: float) -> bool:
        """Whether all is well again, before patience ends: every part ready, so that the next fault meets a standby,
        and every steady client live, and hearing what is newer than `since`.
        """
        crowd = self.progress.crowd
        assert crowd is not None
        with contextlib.suppress(TimeoutError, StackError):
            async with asyncio.timeout(_SETTLE_SECONDS):
                await self.rig.ready(_SETTLE_SECONDS)
                while not all(client.live.is_set() and client.heard_at > since for client in crowd.steady):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            return True
        return False

    async def _try(self, what: str, work: Any) -> None:
        try:
            await work
        except (StackError, *FAILURES) as error:
            self.troubles.append(f"{what}: {error}")


async def _ended(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def versions(rig: Rig) -> dict[str, str]:
    """Of the servers. Raises StackError."""
    try:
        connection = await connect(rig.database_url, "versions")
        try:
            postgres = str(await connection.fetchval(statement("versions")))
        finally:
            await connection.close()
        client: Any = redis.Redis.from_url(rig.redis_url, socket_timeout=5)
        try:
            server = await client.info("server")
        finally:
            await client.aclose()
    except (redis.RedisError, *FAILURES) as error:
        raise StackError(f"the stack's servers do not answer: {error}") from error
    found = {"postgres": postgres.partition(" ")[0]}
    if "valkey_version" in server:
        return found | {"valkey": str(server["valkey_version"])}
    return found | {"redis": str(server.get("redis_version", "?"))}
