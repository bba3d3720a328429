"""Merging live publications with what is read from the stream: exactly once, in order, never a silent gap."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.codes import Lost
from shared.position import Position
from shared.publication import Publication, encode
from tests.publishing import event
from ws_service.chain import Step, step
from ws_service.feed import Feed


def chain(sizes: list[int], epoch: str = "e1") -> list[Publication]:
    """Publications of so many events each, one a tick."""
    made = []
    prev = Position.origin(epoch)
    number = 0
    for tick, size in enumerate(sizes, 1):
        events = [event(number + n) for n in range(1, size + 1)]
        number += size
        position = Position(epoch, tick, number)
        made.append(Publication(encode("c", prev, position, 0, events)))
        prev = position
    return made


@dataclass
class Seen:
    """A sink that remembers."""

    ids: list[int] = field(default_factory=list)
    resets: list[Lost] = field(default_factory=list)

    def publish(self, channel: str, publication: Publication, after: Position) -> None:
        self.ids += [each.id for each in publication.events(after)]

    def reset(self, channel: str, reason: Lost, position: Position) -> None:
        self.resets.append(reason)
        self.ids = list(range(1, position.event + 1))


def test_steps() -> None:
    one, two, three = chain([2, 2, 2])
    origin = Position.origin("e1")
    assert step(origin, one) is Step.NEXT
    assert step(origin, two) is Step.GAP
    assert step(one.position, one) is Step.STALE
    assert step(three.position, one) is Step.STALE
    assert step(Position("e1", 2, 3), two) is Step.NEXT
    assert step(Position("e2", 2, 3), two) is Step.FOREIGN


def test_a_position_inside_is_cut() -> None:
    seen = Seen()
    feed = Feed("c", seen)
    feed.begin(Position("e1", 1, 2), None)
    assert feed.receive(chain([3, 1])[0])
    assert seen.ids == [3]


def test_nothing_is_taken_before_the_head_is_known() -> None:
    seen = Seen()
    feed = Feed("c", seen)
    one, two = chain([1, 1])
    feed.confirm()
    assert not feed.receive(one)
    assert not feed.receive(two)
    feed.begin(one.position, None)
    assert feed.behind == two.position
    assert not feed.settle(feed.confirmations)
    assert feed.apply([two])
    assert feed.settle(feed.confirmations)
    assert seen.ids == [2]


def test_a_confirmation_during_a_read_asks_for_another() -> None:
    feed = Feed("c", Seen())
    feed.confirm()
    before = feed.confirmations
    feed.begin(Position.origin("e1"), None)
    feed.deafen()
    feed.confirm()
    assert not feed.settle(before)
    assert feed.settle(feed.confirmations)


@settings(max_examples=300)
@given(st.data())
def test_any_interleaving_of_losses_reads_and_reconnects(data: st.DataObject) -> None:
    """The stream grows; each publication is also sent live, or lost; reads see the stream of the moment they run at,
    and are applied later; the connection breaks and comes back. In the end the sink saw everything once, in order.
    """
    publications = chain(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=12)))
    seen = Seen()
    feed = Feed("c", seen)
    written = 0
    in_flight: list[Publication] = []
    lost = False
    read: tuple[list[Publication], bool, int] | None = None
    feed.begin(Position.origin("e1"), None)

    def begin_read() -> tuple[list[Publication], bool, int]:
        assert feed.head is not None
        beyond = [each for each in publications[:written] if each.position > feed.head]
        page = beyond[: data.draw(st.integers(1, 3), label="page")]
        return page, len(page) == len(beyond), feed.confirmations

    def end_read(result: tuple[list[Publication], bool, int]) -> None:
        page, last, confirmations = result
        assert feed.apply(page)
        if last:
            feed.settle(confirmations)

    for _ in range(data.draw(st.integers(0, 40), label="steps")):
        match data.draw(st.sampled_from(["write", "lose", "deliver", "break", "confirm", "read", "apply"])):
            case "write" if written < len(publications):
                if feed.confirmed:
                    in_flight.append(publications[written])
                written += 1
            case "lose" if in_flight:
                # Without a break it shows at the next publication only.
                in_flight.pop(0)
                lost = True
            case "deliver" if in_flight:
                feed.receive(in_flight.pop(0))
            case "break":
                in_flight.clear()
                feed.deafen()
            case "confirm":
                feed.confirm()
                lost = False
            case "read" if read is None:
                read = begin_read()
            case "apply" if read is not None:
                end_read(read)
                read = None
        assert seen.ids == list(range(1, len(seen.ids) + 1))
        if feed.live and not in_flight and not lost:
            assert feed.head == (publications[written - 1].position if written else Position.origin("e1"))
    feed.confirm()
    for live in in_flight:
        feed.receive(live)
    for _ in range(40):
        if feed.live:
            break
        end_read(begin_read())
    assert feed.live
    assert seen.ids == list(range(1, sum(each.count for each in publications[:written]) + 1))
    assert not seen.resets


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8), st.data())
def test_frames_from_any_position_hold_exactly_the_rest(sizes: list[int], data: st.DataObject) -> None:
    publications = chain(sizes)
    total = sum(sizes)
    at_event = data.draw(st.integers(0, total))
    tick = next((each.position.tick for each in publications if each.position.event >= at_event), 0) if at_event else 0
    at = Position("e1", tick, at_event)
    seen: list[int] = []
    for publication in publications:
        if step(at, publication) is Step.NEXT:
            seen += [each.id for each in publication.events(at)]
            at = publication.position
        else:
            assert step(at, publication) is Step.STALE
    assert seen == list(range(at_event + 1, total + 1))
