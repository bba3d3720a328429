"""The reasons of /readyz: who is heard, and when."""

from shared.codes import Unready, Warned
from shared.readiness import Readiness


def test_it_starts_unready() -> None:
    readiness = Readiness()
    assert not readiness.ready
    assert [reason["code"] for reason in readiness.reasons] == ["starting"]


def test_ready_when_the_last_reason_is_gone() -> None:
    readiness = Readiness()
    readiness.unready(Unready.REDIS, "gone; start it")
    readiness.clear(Unready.STARTING)
    assert readiness.reasons == [{"code": "redis", "message": "gone; start it"}]
    assert readiness.has(Unready.REDIS)
    readiness.clear(Unready.REDIS)
    assert readiness.ready


def test_each_change_is_told_once() -> None:
    heard: list[tuple[Unready, str | None]] = []
    readiness = Readiness(lambda code, message: heard.append((code, message)))
    readiness.unready(Unready.DEAF, "first")
    readiness.unready(Unready.DEAF, "second")
    readiness.clear(Unready.DEAF)
    readiness.clear(Unready.DEAF)
    assert heard == [(Unready.DEAF, "first"), (Unready.DEAF, None)]


def test_the_newest_message_stands() -> None:
    readiness = Readiness()
    readiness.unready(Unready.DEAF, "first")
    readiness.unready(Unready.DEAF, "second")
    assert readiness.reasons[-1]["message"] == "second"


def test_warnings_do_not_stand_against_serving() -> None:
    readiness = Readiness()
    readiness.clear(Unready.STARTING)
    readiness.warn(Warned.DOORBELL, "held")
    assert readiness.ready
    assert readiness.warnings == [{"code": "doorbell", "message": "held"}]
    readiness.warn(Warned.DOORBELL, None)
    readiness.warn(Warned.DOORBELL, None)
    assert readiness.warnings == []
