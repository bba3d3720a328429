"""Each kind of violation is found in a history that has it, with evidence, and histories without any pass."""

import pytest

from notifiws.verify.checker import check
from notifiws.verify.history import Asked, Event, Fault, Final, Frame, Reset, Subscribed, Truth
from notifiws.verify.verdict import EXAMPLES, Kind
from tests.unit.verify.made import CHANNEL, World, at, subscribe, waited, without


@pytest.fixture
def world() -> World:
    """Five transactions on three rows, a tick each."""
    world = World()
    for rows in ((1,), (1, 2), (2, 3), (1,), (3, 1)):
        world.step(*rows)
    return world


def kinds(world: World) -> dict[str, int]:
    return {str(kind): count for kind, count in world.check().counts.items()}


# Clean


def test_what_is_heard_whole_and_in_order_is_clean(world: World) -> None:
    world.heard("one")
    world.heard("two")
    verdict = world.check()
    assert verdict.clean, verdict.examples
    assert verdict.seen["changes"] == verdict.seen["events"] == 8
    assert verdict.seen["deliveries"] == 16
    assert verdict.seen["rows"] == 3


def test_a_client_that_resumes_where_it_stood_is_clean(world: World) -> None:
    first, *rest = world.frames
    world.client(
        "one", *subscribe(at(0, 0)), first, *subscribe(first.place, since=first.place, now=2), *rest, waited(8, True)
    )
    assert world.check().clean


def test_a_resume_inside_a_frame_gets_the_rest_of_it(world: World) -> None:
    second = world.frames[1]
    inside = at(second.place[1], second.ids[0])
    rest = [Frame(second.at, CHANNEL, second.prev, second.place, second.ids[1:]), *world.frames[2:]]
    world.heard("whole")
    world.client("one", *subscribe(at(0, 0)), *world.frames[:3], *subscribe(inside, since=inside, now=2), *rest)
    assert world.check().clean


def test_a_late_client_owes_nothing_of_what_was_before(world: World) -> None:
    world.heard("whole")
    world.heard("late", *world.frames[3:])
    world.heard("left early", *world.frames[:2])
    assert world.check().clean


def test_an_empty_frame_may_repeat_or_advance_the_position_where_nothing_was(world: World) -> None:
    last = world.frames[-1]
    still = [Frame(9, CHANNEL, last.place, last.place, []), Frame(10, CHANNEL, last.place, at(77, 0), [])]
    world.client("one", *subscribe(at(0, 0)), *world.frames, *still)
    assert world.check().clean


def test_clients_without_prev_are_held_against_the_others(world: World) -> None:
    world.heard("whole")
    plain = [Frame(f.at, CHANNEL, None, f.place, f.ids) for f in world.frames]
    world.client("plain", *subscribe(at(0, 0)), *plain)
    assert world.check().clean
    world.client("plain", *subscribe(at(0, 0)), *plain[:2], *plain[3:])
    assert kinds(world) == {"lost": 2}


def test_who_was_told_to_fetch_afresh_lost_nothing(world: World) -> None:
    world.heard("whole")
    third = world.frames[2]
    told = [Reset(2, CHANNEL, third.place, "expired"), *world.frames[3:]]
    world.client("reset", *subscribe(at(0, 0)), world.frames[0], *told)
    since = world.frames[0].place
    again = subscribe(third.place, since=since, recovered=False, reason="epoch")
    world.client("resumed", *subscribe(at(0, 0)), world.frames[0], *again, *world.frames[3:])
    verdict = world.check()
    assert verdict.clean
    assert verdict.told == {"expired": 1, "epoch": 1}


def test_what_nobody_heard_is_no_loss_if_all_were_told(world: World) -> None:
    """Neither are the rows that it touched wrong."""
    gone = world.frames[2]
    world.history.event = [event for event in world.history.event if event.id not in gone.ids]
    for name in ("one", "two"):
        told = [Reset(2, CHANNEL, gone.place, "expired"), *world.frames[3:]]
        world.client(name, *subscribe(at(0, 0)), *world.frames[:2], *told)
    verdict = world.check()
    assert verdict.clean, verdict.examples
    assert verdict.seen["told_changes"] == 2


# Lost


def test_a_change_that_nobody_heard_is_lost(world: World) -> None:
    gone = world.frames[2]
    world.history.event = [event for event in world.history.event if event.id not in gone.ids]
    after = world.frames[3]
    linked = Frame(after.at, CHANNEL, world.frames[1].place, after.place, after.ids)
    world.client("one", *subscribe(at(0, 0)), *world.frames[:2], linked, world.frames[4])
    verdict = world.check()
    assert verdict.counts[Kind.LOST] == 2
    [first, _] = [each for each in verdict.examples if each.kind is Kind.LOST]
    assert first.text == "change 4 was committed and reached nobody"
    assert "one went through tick 3" in first.evidence[1]


def test_one_reset_client_does_not_excuse_what_another_should_have_heard(world: World) -> None:
    gone = world.frames[2]
    world.history.event = [event for event in world.history.event if event.id not in gone.ids]
    after = world.frames[3]
    linked = Frame(after.at, CHANNEL, world.frames[1].place, after.place, after.ids)
    world.client("told", *subscribe(at(0, 0)), *world.frames[:2], Reset(2, CHANNEL, gone.place, "x"), *world.frames[3:])
    world.client("silent", *subscribe(at(0, 0)), *world.frames[:2], linked, world.frames[4])
    assert kinds(world)["lost"] == 2


def test_what_one_client_missed_and_another_heard_is_lost_and_a_gap(world: World) -> None:
    world.heard("whole")
    world.heard("holey", world.frames[0], *world.frames[2:])
    verdict = world.check()
    assert verdict.counts == {Kind.GAP: 1, Kind.LOST: 2}
    gap = next(each for each in verdict.examples if each.kind is Kind.GAP)
    assert gap.client == "holey"
    assert gap.text == "a frame continues e1:2-3, and the client stands at e1:1-1"
    assert len(gap.evidence) == 3


def test_an_event_missing_inside_a_frame_is_lost(world: World) -> None:
    world.heard("whole")
    world.heard("holey", world.frames[0], without(world.frames[1], 2), *world.frames[2:])
    assert kinds(world) == {"lost": 1}


def test_an_empty_frame_that_steps_over_events_loses_them(world: World) -> None:
    world.heard("whole")
    over = world.frames[1]
    world.heard("still", world.frames[0], Frame(2, CHANNEL, over.prev, over.place, []), *world.frames[2:])
    assert kinds(world) == {"lost": 2}


def test_what_was_waited_for_and_did_not_come_is_lost(world: World) -> None:
    world.heard("whole")
    world.client("waits", *subscribe(at(0, 0)), *world.frames[:3], waited(6, False))
    verdict = world.check()
    assert verdict.counts == {Kind.LOST: 1}
    assert verdict.examples[0].evidence[0].startswith("committed: update of row 1")


def test_a_change_that_no_tick_has_seen_is_lost(world: World) -> None:
    world.heard("whole")
    world.write(9)
    verdict = world.check()
    assert verdict.counts == {Kind.LOST: 1, Kind.STATE: 1}
    assert verdict.examples[0].evidence[1] == "no tick has seen its transaction"


# Duplicated


def test_a_frame_that_comes_again_is_duplicated(world: World) -> None:
    world.heard("one", *world.frames[:3], world.frames[2], *world.frames[3:])
    assert kinds(world) == {"duplicated": 2}


def test_a_resume_that_begins_too_early_duplicates(world: World) -> None:
    second = world.frames[1]
    again = subscribe(second.place, since=second.place, now=3)
    world.client("one", *subscribe(at(0, 0)), *world.frames[:2], *again, second, *world.frames[2:])
    assert kinds(world) == {"duplicated": 2}


def test_a_change_carried_by_two_events_is_duplicated(world: World) -> None:
    again = like(world.history.event[-1], id=99, tick=9)
    world.history.event.append(again)
    world.heard("one", *world.frames, Frame(9, CHANNEL, world.head, at(9, 99), [99]))
    verdict = world.check()
    assert verdict.counts == {Kind.DUPLICATED: 1}
    assert verdict.examples[0].text == "change 8 was carried by two events"


def test_an_event_at_two_positions_is_duplicated(world: World) -> None:
    last = world.history.event[-1]
    world.history.event.append(like(last, tick=last.tick + 1))
    world.heard("one")
    assert kinds(world) == {"duplicated": 1}


# Reordered


def test_a_row_that_goes_back_is_reordered() -> None:
    world = World()
    first, second, third = world.write(1), world.write(1), world.write(2)
    world.cut(second)
    world.cut(first + third)
    world.heard("one")
    verdict = world.check()
    assert verdict.counts[Kind.REORDERED] >= 1
    assert verdict.examples[0].text == "change 2 came before change 1 of row 1"


def test_a_change_before_one_of_another_row_that_it_could_see_is_reordered() -> None:
    world = World()
    first, second = world.write(1), world.write(2)
    world.cut(second)
    world.cut(first)
    world.heard("one")
    verdict = world.check()
    assert verdict.counts == {Kind.REORDERED: 1}
    assert verdict.examples[0].text == "change 2 came before change 1 which it could see"


def test_changes_that_could_not_see_each_other_may_come_in_any_order() -> None:
    world = World()
    first = world.write(1)
    second = world.write(2, snapshot=f"{world.tx}:{world.tx + 1}:{world.tx}")
    world.cut(second)
    world.cut(first)
    world.heard("one")
    assert world.check().clean


def test_statements_of_one_transaction_that_change_places_are_reordered() -> None:
    world = World()
    one, two, three = world.write(1, 2, 3)
    swapped = [
        like(one, id=two.id), like(two, id=one.id), three
    ]  # fmt: skip
    world.cut(swapped)
    world.heard("one")
    verdict = world.check()
    assert verdict.counts == {Kind.REORDERED: 1}
    assert "of one transaction" in verdict.examples[0].text


def test_ids_that_go_down_inside_a_frame_are_reordered(world: World) -> None:
    world.heard("whole")
    second = world.frames[1]
    turned = Frame(second.at, CHANNEL, second.prev, second.place, second.ids[::-1])
    world.heard("one", world.frames[0], turned, *world.frames[2:])
    assert "reordered" in kinds(world)


# Phantom, changed


def test_an_event_of_nothing_that_was_committed_is_a_phantom(world: World) -> None:
    world.history.truth = [truth for truth in world.history.truth if truth.number != 8]
    world.heard("one")
    assert kinds(world)["phantom"] == 1


def test_an_event_on_another_channel_than_its_change_is_a_phantom(world: World) -> None:
    last = world.history.truth[-1]
    world.history.truth[-1] = Truth(last.number, last.tx, 0, last.snapshot, "other", last.op, last.stamp, 1, 0, 9)
    world.heard("one")
    verdict = world.check()
    assert verdict.counts[Kind.PHANTOM] == 1
    assert "committed for channel other" in next(e.text for e in verdict.examples if e.kind is Kind.PHANTOM)


def test_an_event_with_other_values_than_committed_is_changed(world: World) -> None:
    world.history.event[3] = like(world.history.event[3], size=8)
    world.heard("one")
    assert kinds(world) == {"changed": 1}


def test_an_event_that_says_two_things_is_changed(world: World) -> None:
    world.history.event.append(like(world.history.event[3], size=8))
    world.heard("one")
    assert kinds(world) == {"changed": 1}


# Gap, stale


def test_events_of_a_new_epoch_without_a_reset_are_a_gap(world: World) -> None:
    event = like(world.history.event[-1], epoch="e2", id=99)
    world.history.event.append(event)
    world.heard("one", *world.frames, Frame(9, CHANNEL, at(0, 0, "e2"), at(event.tick, 99, "e2"), [99]))
    assert kinds(world)["gap"] == 1


def test_a_resume_at_another_position_than_asked_for_is_stale(world: World) -> None:
    first, second, *rest = world.frames
    world.heard("whole")
    again = subscribe(second.place, since=first.place, now=2)
    world.client("one", *subscribe(at(0, 0)), first, *again, *rest)
    verdict = world.check()
    assert verdict.counts == {Kind.STALE: 1}
    assert verdict.examples[0].text == "resumed at e1:2-3 and not at e1:1-1 as asked"


def test_an_ignored_since_is_stale(world: World) -> None:
    first = world.frames[0]
    answer = [Asked(2, CHANNEL, first.place, "n"), Subscribed(2, CHANNEL, first.place, first.place, None, None)]
    world.client("one", *subscribe(at(0, 0)), first, *answer, *world.frames[1:])
    assert kinds(world) == {"stale": 1}


@pytest.mark.parametrize("back", [Frame(9, CHANNEL, at(1, 1), at(1, 1), []), Reset(9, CHANNEL, at(1, 1), "expired")])
def test_a_position_that_goes_backwards_is_stale(world: World, back: Frame | Reset) -> None:
    world.client("one", *subscribe(at(0, 0)), *world.frames, back)
    assert kinds(world) == {"stale": 1}


def test_a_head_before_the_position_is_stale(world: World) -> None:
    world.client("one", *subscribe(at(0, 0)), *world.frames, *subscribe(world.head, since=world.head, head=at(1, 1)))
    assert kinds(world) == {"stale": 1}


def test_a_position_that_is_not_its_last_events_is_stale(world: World) -> None:
    last = world.frames[-1]
    world.heard("one", *world.frames[:-1], Frame(9, CHANNEL, last.prev, at(last.place[1], 50), last.ids))
    assert kinds(world) == {"stale": 1}


# State


def test_a_table_that_is_not_what_its_events_say_is_found(world: World) -> None:
    world.heard("one")
    world.history.final[0] = Final(CHANNEL, world.history.final[0].row, 77, 3)
    world.history.final.append(Final(CHANNEL, 50, 0, 0))
    verdict = world.check()
    assert verdict.counts == {Kind.STATE: 2}
    assert verdict.examples[0].evidence[0] == "table: version 77, stamp 3"


# As a whole


def test_it_answers_the_same_again_and_keeps_few_examples() -> None:
    world = World()
    for _ in range(20):
        world.step(1)
    world.heard("whole")
    world.heard("doubled", *(frame for frame in world.frames for _ in range(2)))
    one, two = world.check(), world.check()
    assert one.counts == two.counts == {Kind.DUPLICATED: 20}
    assert one.examples == two.examples
    assert len(one.examples) == EXAMPLES


def test_recovery_is_the_time_until_each_steady_client_hears_something_newer(world: World) -> None:
    world.heard("one")
    world.client("guest", *subscribe(at(0, 0)), *world.frames, steady=False)
    slow = [later(frame, frame.at + 1.0) for frame in world.frames]
    world.client("two", *subscribe(at(0, 0)), *slow)
    began = world.history.commit[2].began
    world.history.faults = [Fault(began - 0.1, began + 0.2, "kill", "listener")]
    [recovery] = check(world.history).recoveries.all
    assert sorted(round(time, 3) for time in recovery.clients) == [0.2, 1.2]
    assert recovery.document()["held"] == 0.3


def test_a_fault_that_met_another_is_left_out_of_the_percentiles(world: World) -> None:
    world.heard("one")
    first, second, last = (world.history.commit[number].began - 0.1 for number in (1, 1, 4))
    world.history.faults = [
        Fault(first, first + 0.5, "slow", "node-redis of node 1"),
        Fault(second + 0.01, second + 0.01, "kill", "node 1"),
        Fault(last, last, "kill", "node 2"),
    ]
    recoveries = check(world.history).recoveries
    assert [recovery.met for recovery in recoveries.all] == [True, True, False]
    assert [(row["kind"], row["faults"], row["alone"]) for row in recoveries.kinds()] == [
        ("kill", 2, 1),
        ("slow", 1, 0),
    ]


def like(event: Event, **changed: object) -> Event:
    values = {name: getattr(event, name) for name in event.__struct_fields__} | changed
    return Event(**values)  # type: ignore[arg-type]


def later(frame: Frame, now: float) -> Frame:
    return Frame(now, frame.channel, frame.prev, frame.place, frame.ids)
