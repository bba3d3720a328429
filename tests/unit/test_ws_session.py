"""The v1 conversation: every wrong message has its answer, and no message can hurt."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.codes import CloseCode
from shared.position import Position
from ws_service.limits import Limits
from ws_service.session import Action, Authenticate, Close, Reply, Session, Subscribe, Unsubscribe


def session(**limits: int) -> Session:
    return Session(Limits(**limits), 0.0)


def say(to: Session, now: float = 0.0, **frame: Any) -> Action:
    (action,) = to.receive(json.dumps(frame), now)
    return action


def error(action: Action) -> dict[str, Any]:
    assert isinstance(action, Reply)
    frame: dict[str, Any] = json.loads(action.frame)
    assert frame["type"] == "error"
    assert frame["message"]
    return frame


def test_subscribe_live() -> None:
    action = say(session(), type="subscribe", id=7, channel="sales")
    assert action == Subscribe(7, "sales", "sales")


@pytest.mark.parametrize(
    ("given", "want"),
    [
        ({"since": "e1:4-17"}, {"since": Position("e1", 4, 17)}),
        ({"rewind": 10}, {"rewind_events": 10}),
        ({"rewind": "90s"}, {"rewind_seconds": 90.0}),
        ({"rewind": "10m"}, {"rewind_seconds": 600.0}),
        ({"rewind": "24h"}, {"rewind_seconds": 86400.0}),
        ({"since": None, "rewind": None, "filter": None, "snapshot": False, "conflate": False}, {}),
    ],
)
def test_subscribe_with_a_past(given: dict[str, Any], want: dict[str, Any]) -> None:
    assert say(session(), type="subscribe", id=1, channel="c", **given) == Subscribe(1, "c", "c", **want)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ({}, "bad_field"),
        ({"type": 5, "id": 1}, "bad_field"),
        ({"type": None, "id": 1}, "bad_field"),
        ({"type": "dance", "id": 1}, "unknown_type"),
        ({"type": "welcome", "id": 1}, "unknown_type"),
        ({"type": "ping"}, "bad_field"),
        ({"type": "ping", "id": "1"}, "bad_field"),
        ({"type": "ping", "id": True}, "bad_field"),
        ({"type": "ping", "id": 1.5}, "bad_field"),
        ({"type": "ping", "id": 10**30}, "bad_field"),
        ({"type": "ping", "id": 1, "extra": 1}, "bad_field"),
        ({"type": "subscribe", "channel": "c"}, "bad_field"),
        ({"type": "subscribe", "id": 1}, "bad_field"),
        ({"type": "subscribe", "id": 1, "channel": 5}, "bad_field"),
        ({"type": "subscribe", "id": 1, "channel": None}, "bad_field"),
        ({"type": "subscribe", "id": 1, "channel": "Sales"}, "bad_channel"),
        ({"type": "subscribe", "id": 1, "channel": ""}, "bad_channel"),
        ({"type": "subscribe", "id": 1, "channel": "a" * 129}, "bad_channel"),
        ({"type": "subscribe", "id": 1, "channel": "a\n"}, "bad_channel"),
        ({"type": "subscribe", "id": 1, "channel": "ñ"}, "bad_channel"),
        ({"type": "subscribe", "id": 1, "channel": "c", "since": "nonsense"}, "bad_position"),
        ({"type": "subscribe", "id": 1, "channel": "c", "since": ""}, "bad_position"),
        ({"type": "subscribe", "id": 1, "channel": "c", "since": 17}, "bad_position"),
        ({"type": "subscribe", "id": 1, "channel": "c", "since": "e1:1-99999999999999999999"}, "bad_position"),
        ({"type": "subscribe", "id": 1, "channel": "c", "since": "e1:1-1", "rewind": 5}, "bad_field"),
        ({"type": "subscribe", "id": 1, "channel": "c", "rewind": 0}, "bad_field"),
        ({"type": "subscribe", "id": 1, "channel": "c", "rewind": -3}, "bad_field"),
        ({"type": "subscribe", "id": 1, "channel": "c", "rewind": True}, "bad_field"),
        ({"type": "subscribe", "id": 1, "channel": "c", "rewind": 1.5}, "bad_field"),
        ({"type": "subscribe", "id": 1, "channel": "c", "rewind": "90"}, "bad_field"),
        ({"type": "subscribe", "id": 1, "channel": "c", "rewind": "0s"}, "bad_field"),
        ({"type": "subscribe", "id": 1, "channel": "c", "rewind": "soon"}, "bad_field"),
        ({"type": "subscribe", "id": 1, "channel": "c", "rewind": ""}, "bad_field"),
        ({"type": "subscribe", "id": 1, "channel": "c", "rewind": []}, "bad_field"),
        ({"type": "subscribe", "id": 1, "channel": "c", "rewind": 1001}, "limit"),
        ({"type": "subscribe", "id": 1, "channel": "c", "filter": {}}, "unsupported"),
        ({"type": "subscribe", "id": 1, "channel": "c", "filter": {"tienda_id": 1}}, "unsupported"),
        ({"type": "subscribe", "id": 1, "channel": "c", "filter": 0}, "unsupported"),
        ({"type": "subscribe", "id": 1, "channel": "c", "snapshot": True}, "unsupported"),
        ({"type": "subscribe", "id": 1, "channel": "c", "snapshot": 0}, "unsupported"),
        ({"type": "subscribe", "id": 1, "channel": "c", "conflate": True}, "unsupported"),
        ({"type": "subscribe", "id": 1, "channel": "c", "fliter": {"a": 1}}, "bad_field"),
        ({"type": "unsubscribe", "id": 1}, "bad_field"),
        ({"type": "unsubscribe", "id": 1, "sub": "a", "channel": "a"}, "bad_field"),
        ({"type": "unsubscribe", "id": 1, "sub": 1}, "bad_field"),
        ({"type": "unsubscribe", "id": 1, "sub": "a"}, "not_subscribed"),
        ({"type": "unsubscribe", "id": 1, "channel": "a"}, "not_subscribed"),
        ({"type": "unsubscribe", "id": 1, "channel": "A"}, "bad_channel"),
        ({"type": "auth"}, "bad_field"),
        ({"type": "auth", "token": 5}, "bad_field"),
        ({"type": "auth", "token": "x", "id": "y"}, "bad_field"),
    ],
)
def test_wrong_frames(frame: dict[str, Any], code: str) -> None:
    talk = session()
    answer = error(say(talk, **frame))
    assert answer["code"] == code
    assert answer["fix"]
    assert answer.get("id") == (1 if frame.get("id") == 1 and frame.get("id") is not True else None)
    assert talk.subscriptions == 0


@pytest.mark.parametrize(
    "text",
    [
        "", "hello", "[]", "1", "null", '"text"', "{", '{"a":1}x', '{"type":"ping","id":1', "\ufeff{}",
        "[" * 60_000, '{"a":' * 10_000 + "1" + "}" * 10_000, '{"a":1e999}', '{"a":' + "9" * 5000 + "}",
        '{"a":"\\ud800"}', '{"a":NaN}', "\x00",
    ],
)  # fmt: skip
def test_what_is_no_json_object_closes(text: str) -> None:
    (action,) = session().receive(text, 0.0)
    assert isinstance(action, Close)
    assert action.code == CloseCode.MALFORMED
    assert action.reason == "not a JSON object that this server reads"


def test_duplicate_keys_count_once() -> None:
    (action,) = session().receive('{"type":"ping","id":1,"id":2}', 0.0)
    assert isinstance(action, Reply)
    assert json.loads(action.frame) == {"type": "pong", "id": 2}


def test_twice_and_again_after_unsubscribe() -> None:
    talk = session()
    say(talk, type="subscribe", id=1, channel="a")
    assert error(say(talk, type="subscribe", id=2, channel="a"))["code"] == "already_subscribed"
    action = say(talk, type="unsubscribe", id=3, sub="a")
    assert isinstance(action, Unsubscribe)
    assert json.loads(action.frame) == {"type": "unsubscribed", "id": 3, "sub": "a"}
    assert isinstance(say(talk, type="subscribe", id=4, channel="a"), Subscribe)
    assert isinstance(say(talk, type="unsubscribe", id=5, channel="a"), Unsubscribe)
    assert talk.subscriptions == 0


def test_a_failed_subscription_frees_its_place() -> None:
    talk = session(subscriptions=1)
    say(talk, type="subscribe", id=1, channel="a")
    assert error(say(talk, type="subscribe", id=2, channel="b"))["code"] == "limit"
    talk.ended("a")
    assert isinstance(say(talk, type="subscribe", id=3, channel="b"), Subscribe)


def test_auth_asks_for_welcome_and_hides_its_token() -> None:
    action = say(session(), type="auth", token="secret")
    assert action == Authenticate("secret")
    assert "secret" not in repr(action)


def test_too_many_messages_are_refused_then_closed() -> None:
    talk = session(messages_per_second=10)
    answers = [say(talk, type="ping", id=number) for number in range(60)]
    assert all(b"pong" in answer.frame for answer in answers[:50] if isinstance(answer, Reply))
    assert error(answers[50])["code"] == "rate_limited"
    assert error(answers[50])["id"] == 50
    assert isinstance(say(talk, type="ping", id=1), Close)
    talk = session(messages_per_second=10)
    for number in range(55):
        say(talk, type="ping", id=number)
    assert isinstance(say(talk, 2.0, type="ping", id=1), Reply)
    assert b"pong" in say(talk, 2.0, type="ping", id=1).frame  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text", [json.dumps({"id": 7, "pad": "x" * 2_000}), '{"id":"7"}', '{"id":true}', "[" * 1_000, "no", '{"id":1e30}']
)
def test_a_dropped_message_without_a_cheap_id(text: str) -> None:
    talk = session(messages_per_second=10)
    for number in range(50):
        say(talk, type="ping", id=number)
    (action,) = talk.receive(text, 0.0)
    assert error(action)["code"] == "rate_limited"
    assert "id" not in error(action)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
FIELD = st.sampled_from(["type", "id", "channel", "since", "rewind", "filter", "snapshot", "conflate", "sub", "token"])
WORD = st.sampled_from(["subscribe", "unsubscribe", "ping", "auth", "a", "b", "e1:1-1", "90s", 1, 2, True, None, {}])


@given(st.lists(st.dictionaries(FIELD, WORD | JSON, max_size=5), max_size=30))
def test_any_conversation(conversation: list[dict[str, Any]]) -> None:
    """Whatever is said: one answer each, errors for wrong frames, and the registry is what the actions add up to."""
    talk = session(subscriptions=2)
    open_subs: set[str] = set()
    for frame in conversation:
        for action in talk.receive(json.dumps(frame), 0.0):
            match action:
                case Subscribe():
                    assert action.sub not in open_subs
                    assert (action.since, action.rewind_events, action.rewind_seconds).count(None) >= 2
                    open_subs.add(action.sub)
                case Unsubscribe(sub):
                    open_subs.remove(sub)
                case Reply(data):
                    assert json.loads(data)["type"] in ("pong", "error")
                case Close(code):
                    # Python writes NaN and Infinity, which JSON has not.
                    assert code == CloseCode.MALFORMED
    assert talk.subscriptions == len(open_subs) <= 2


@given(st.text())
def test_any_text(text: str) -> None:
    (action,) = session().receive(text, 0.0)
    assert isinstance(action, Close | Reply)
