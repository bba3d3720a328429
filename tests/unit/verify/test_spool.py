"""A history on disk says what was recorded, in the order of recording, and judges like one in memory."""

from pathlib import Path

from notifiws.verify.checker import check
from notifiws.verify.history import Event, Frame, Who
from notifiws.verify.spool import Spool
from tests.unit.verify.made import World


def spooled(world: World, folder: Path) -> Spool:
    spool = Spool(folder)
    for event in world.history.event:
        spool.heard(event)
    for commit in world.history.commit:
        spool.committed_at(commit.tx, commit.began, commit.returned)
    for who in world.history.clients:
        log = spool.client(who)
        for record in world.history.records(who):
            log.write(record)
        log.close()
        log.write(Frame(99, "c", None, ("e1", 99, 99), []))  # after its end nothing counts
    for kind, rows in (("truths", world.history.truth), ("finals", world.history.final), ("ticks", world.history.tick)):
        with spool.truth(kind) as write:
            for row in rows:
                write(tuple(getattr(row, name) for name in row.__struct_fields__))
    spool.faults = world.history.faults
    spool.close()
    return spool


def test_what_was_recorded_is_read(tmp_path: Path) -> None:
    world = World()
    for rows in ((1,), (1, 2), (2,)):
        world.step(*rows)
    world.heard("one")
    world.heard("two", world.frames[0], world.frames[2])
    spool = spooled(world, tmp_path)
    assert list(spool.truths()) == world.history.truth
    assert list(spool.events()) == world.history.event
    assert list(spool.ticks()) == world.history.tick
    assert list(spool.records(Who("one", "v1", True))) == world.history.logs[Who("one", "v1", True)]
    ours, theirs = check(spool).verdict, world.check()
    assert ours == theirs
    assert not ours.clean


def test_an_event_is_written_again_only_if_it_says_something_else(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    event = Event(1, "c", "e1", 1, "insert", 700, 1, 1, 0, 9)
    other = Event(1, "c", "e1", 1, "insert", 700, 1, 1, 0, 8)
    for each in (event, event, other, event):
        spool.heard(each)
    spool.close()
    assert list(spool.events()) == [event, other, event]
