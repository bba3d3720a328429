"""The order of faults is the seed's alone, each has its turn, and what lasts is undone when the run ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from notifiws.verify import nemesis
from notifiws.verify.faults import Fault, NotDone, chosen
from notifiws.verify.nemesis import Nemesis
from notifiws.verify.rig import Rig
from notifiws.verify.spool import Spool


class Stage:
    """Stands in for a stack: notes what is done and undone."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.undone = 0
        self.refuse: str | None = None
        self.enough = asyncio.Event()

    @asynccontextmanager
    async def done(self, fault: Fault, rig: Rig, chance: Random) -> AsyncIterator[str]:
        if str(fault) == self.refuse:
            raise NotDone("away")
        self.did.append(f"{fault} {chance.random():.6f}")
        if len(self.did) == 40:
            self.enough.set()
        try:
            yield f"{fault.target} 1"
        finally:
            self.undone += 1


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    stage = Stage()
    monkeypatch.setattr(nemesis, "done", stage.done)
    monkeypatch.setattr(nemesis, "_PAUSE", (0, 0))
    monkeypatch.setattr(nemesis, "_HOLDS", (0,))
    return stage


async def run(stage: Stage, folder: Path, seed: int) -> tuple[list[str], Spool, Nemesis]:
    spool = Spool(folder)
    rig: Any = None

    async def settled(_: float) -> bool:
        return True

    hurting = Nemesis(rig, spool, chosen("kill,freeze,flush"), seed, settled)
    task = asyncio.create_task(hurting.run())
    async with asyncio.timeout(10):
        await stage.enough.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    spool.close()
    did, stage.did = stage.did[:40], []
    stage.enough.clear()
    return did, spool, hurting


async def test_the_same_seed_makes_the_same_trouble(stage: Stage, tmp_path: Path) -> None:
    one, _, _ = await run(stage, tmp_path / "one", 7)
    two, _, _ = await run(stage, tmp_path / "two", 7)
    three, _, _ = await run(stage, tmp_path / "three", 8)
    assert one == two
    assert one != three


async def test_each_has_its_turn_before_any_comes_again_and_all_is_undone(stage: Stage, tmp_path: Path) -> None:
    did, spool, _ = await run(stage, tmp_path, 7)
    names = [each.partition(" ")[0] for each in did]
    assert sorted(names[:9]) == sorted(map(str, chosen("kill,freeze,flush")))
    assert sorted(names[9:18]) == sorted(names[:9])
    assert stage.undone >= 40
    assert [f"{fault.kind}:{fault.target.partition(' ')[0]}" for fault in spool.faults[:40]] == names


async def test_what_cannot_be_done_is_no_fault(stage: Stage, tmp_path: Path) -> None:
    stage.refuse = "flush:valkey"
    did, spool, hurting = await run(stage, tmp_path, 7)
    assert not any("flush" in each for each in did)
    assert not any(fault.kind == "flush" for fault in spool.faults)
    assert hurting.skipped >= 4
