"""The hub: each message is built once, written once per connection and turn, and only to who is attached."""

from collections.abc import Callable

from shared.codes import CloseCode, Lost
from shared.position import Position
from tests.unit.test_ws_feed import chain
from ws_service.connection import Batch
from ws_service.groups import Frames, Plain
from ws_service.hub import Hub
from ws_service.metrics import NodeMetrics

ORIGIN = Position.origin("e1")


class Recorder:
    """A connection and its member in one."""

    def __init__(self) -> None:
        self.writes: list[Batch] = []
        self.closed: CloseCode | None = None
        self.resets: list[tuple[Lost, Position]] = []
        self.open = True
        self.buffered = 0

    @property
    def connection(self) -> "Recorder":
        return self

    @property
    def wanted(self) -> bool:
        return self.open

    def write(self, messages: Batch) -> None:
        self.writes.append(messages)

    def close(self, code: CloseCode, reason: str = "") -> None:
        self.closed = code

    async def room(self, size: int) -> bool:
        return True

    def reset(self, reason: Lost, position: Position) -> None:
        self.resets.append((reason, position))


class Turn:
    """The loop's `call_soon`, run by hand."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[[], None]] = []
        self.hub = Hub(NodeMetrics(), self.callbacks.append)

    def end(self) -> None:
        callbacks, self.callbacks[:] = self.callbacks[:], []
        for callback in callbacks:
            callback()


def test_a_turn_is_one_write_of_shared_bytes() -> None:
    turn, a, b = Turn(), Recorder(), Recorder()
    turn.hub.attach("c", Frames(), a)
    turn.hub.attach("c", Frames(), b)
    one, two = chain([1, 2])
    turn.hub.publish("c", one, ORIGIN)
    turn.hub.publish("c", two, one.position)
    assert a.writes == []
    assert len(turn.callbacks) == 1
    turn.end()
    assert a.writes == [(one.frame, two.frame)]
    assert a.writes[0] is b.writes[0]


def test_who_comes_in_the_middle_of_a_turn_gets_only_what_follows() -> None:
    turn, a, b = Turn(), Recorder(), Recorder()
    turn.hub.attach("c", Frames(), a)
    one, two = chain([1, 1])
    turn.hub.publish("c", one, ORIGIN)
    turn.hub.attach("c", Frames(), b)
    turn.hub.publish("c", two, one.position)
    turn.end()
    assert a.writes == [(one.frame,), (two.frame,)]
    assert b.writes == [(two.frame,)]


def test_who_leaves_gets_nothing_more() -> None:
    turn, a, b = Turn(), Recorder(), Recorder()
    turn.hub.attach("c", Frames(), a)
    turn.hub.attach("c", Frames(), b)
    (one,) = chain([1])
    turn.hub.publish("c", one, ORIGIN)
    turn.hub.detach("c", Frames(), a)
    turn.end()
    assert a.writes == []
    assert b.writes == [(one.frame,)]
    turn.hub.detach("c", Frames(), b)
    turn.hub.detach("c", Frames(), b)
    turn.hub.publish("c", one, ORIGIN)
    assert not turn.callbacks


def test_shapes() -> None:
    turn = Turn()
    members = {
        shape: Recorder() for shape in (Frames(), Plain(), Plain("event"), Plain("payload", frozenset({"delete"})))
    }
    for shape, member in members.items():
        turn.hub.attach("c", shape, member)
    (one,) = chain([2])
    turn.hub.publish("c", one, ORIGIN)
    turn.end()
    frames, payload, events, deletes = members.values()
    assert frames.writes == [(one.frame,)]
    assert payload.writes == [(b'{"id":1,"pad":""}', b'{"id":2,"pad":""}')]
    assert events.writes[0][1].endswith(b',"channel":"c","position":"e1:1-2"}')
    assert deletes.writes == []


def test_reset_comes_after_what_was_published_before() -> None:
    turn, a = Turn(), Recorder()
    turn.hub.attach("c", Frames(), a)
    (one,) = chain([1])
    turn.hub.publish("c", one, ORIGIN)
    turn.hub.reset("c", Lost.EXPIRED, one.position)
    assert a.writes == [(one.frame,)]
    assert a.resets == [(Lost.EXPIRED, one.position)]


def test_standstill_speaks_only_when_nothing_was_published() -> None:
    turn, a, plain = Turn(), Recorder(), Recorder()
    turn.hub.attach("c", Frames(), a)
    turn.hub.attach("c", Plain(), plain)
    (one,) = chain([1])
    turn.hub.publish("c", one, ORIGIN)
    turn.hub.standstill("c", one.position, one.position)
    turn.end()
    assert len(a.writes) == 1
    turn.hub.standstill("c", one.position, one.position)
    turn.end()
    assert a.writes[1] == (b'{"type":"events","channel":"c","prev":"e1:1-1","position":"e1:1-1","events":[]}',)
    assert len(plain.writes) == 1


def test_messages_that_cannot_be_built_close_and_never_gap() -> None:
    class Broken:
        def messages(self, *_: object) -> tuple[bytes, ...]:
            raise ValueError("boom")

        def standstill(self, *_: object) -> None:
            return None

    turn, a, b = Turn(), Recorder(), Recorder()
    turn.hub.attach("c", Broken(), a)
    turn.hub.attach("c", Frames(), b)
    (one,) = chain([1])
    turn.hub.publish("c", one, ORIGIN)
    turn.end()
    assert a.closed == CloseCode.INTERNAL
    assert b.writes == [(one.frame,)]


def test_a_connection_that_fails_is_closed_and_costs_nobody_a_message() -> None:
    class Failing(Recorder):
        def write(self, messages: Batch) -> None:
            raise RuntimeError("boom")

    turn, failing, b, c = Turn(), Failing(), Recorder(), Recorder()
    turn.hub.attach("c", Frames(), failing)
    turn.hub.attach("c", Frames(), b)
    turn.hub.attach("c", Plain("event"), c)
    (one,) = chain([1])
    turn.hub.publish("c", one, ORIGIN)
    turn.end()
    assert failing.closed == CloseCode.INTERNAL
    assert b.closed is None
    assert b.writes == [(one.frame,)]
    assert len(c.writes) == 1
