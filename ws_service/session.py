"""The `notifiws.v1` conversation of one connection: messages in, actions out. No I/O.

It checks what a client sends and remembers which subscriptions it has. Doing what the actions say, and telling the
session when a subscription could not be made, is the endpoint's job.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from shared.channel import is_channel
from shared.codes import CloseCode, ErrorCode
from shared.position import BadPosition, Position
from shared.settings import parse_duration
from ws_service import frames
from ws_service.limits import Limits, MessageRate

_FIELDS: Final = {
    "auth": {"type", "id", "token"},
    "subscribe": {"type", "id", "channel", "since", "rewind", "filter", "snapshot", "conflate"},
    "unsubscribe": {"type", "id", "sub", "channel"},
    "ping": {"type", "id"},
}
_MAX_ID: Final = 2**53
# A dropped message up to this size is answered with its `id`: reading it costs no more than the answer.
_CHEAP: Final = 1_024


@dataclass(frozen=True, slots=True)
class Reply:
    """Send this frame."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Start a subscription. At most one of `since`, `rewind_events`, `rewind_seconds` is given."""

    id: int
    sub: str
    channel: str
    since: Position | None = None
    rewind_events: int | None = None
    rewind_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """End a subscription, then send `frame`."""

    sub: str
    frame: bytes


@dataclass(frozen=True, slots=True)
class Authenticate:
    """The client brought a token; answer with `welcome`, and with the same `id` if there was one."""

    token: str = field(repr=False)
    id: int | None = None


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection. No further message counts."""

    code: CloseCode
    reason: str


Action = Reply | Subscribe | Unsubscribe | Authenticate | Close


class _Refused(Exception):
    """A frame that is answered with an error."""

    def __init__(self, code: ErrorCode, message: str, fix: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.fix = fix


class Session:
    """One connection's side of the conversation, after `welcome`."""

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._rate = MessageRate(limits.messages_per_second, now)
        self._channel_of: dict[str, str] = {}

    @property
    def subscriptions(self) -> int:
        """How many subscriptions there are, those being made included."""
        return len(self._channel_of)

    def receive(self, text: str, now: float) -> list[Action]:
        """Take one text message."""
        if not self._rate.take(now):
            if self._rate.excessive:
                return [Close(CloseCode.LIMIT, "too many messages")]
            return [
                Reply(
                    frames.error(
                        _number_of(text),
                        ErrorCode.RATE_LIMITED,
                        f"more than {self._limits.messages_per_second} messages a second; this one was dropped",
                        "send more slowly",
                    )
                )
            ]
        try:
            frame = msgspec.json.decode(text)
        except (ValueError, RecursionError, OverflowError):
            frame = None
        if not isinstance(frame, dict):
            # Not JSON, no object, nested too deeply, a lone surrogate: one of them it is, and the client can see which.
            return [Close(CloseCode.MALFORMED, "not a JSON object that this server reads")]
        number = frame.get("id")
        number = number if _is_id(number) else None
        try:
            return self._take(frame)
        except _Refused as refused:
            return [Reply(frames.error(number, refused.code, refused.message, refused.fix))]

    def ended(self, sub: str) -> None:
        """This subscription could not be made, or was ended by the node."""
        self._channel_of.pop(sub, None)

    def _take(self, frame: dict[str, Any]) -> list[Action]:
        kind = frame.get("type")
        if not isinstance(kind, str):
            raise _Refused(ErrorCode.BAD_FIELD, "`type` is missing or no string", f"one of {', '.join(_FIELDS)}")
        if kind not in _FIELDS:
            raise _Refused(ErrorCode.UNKNOWN_TYPE, f"unknown frame type {kind[:80]!a}", f"one of {', '.join(_FIELDS)}")
        for name in frame.keys() - _FIELDS[kind]:
            raise _Refused(
                ErrorCode.BAD_FIELD,
                f"`{kind}` has no field {name[:80]!a}",
                f"its fields: {', '.join(sorted(_FIELDS[kind]))}",
            )
        match kind:
            case "subscribe":
                return [self._subscribe(frame)]
            case "unsubscribe":
                return self._unsubscribe(frame)
            case "ping":
                return [Reply(frames.pong(_id(frame)))]
            case _:
                number = None if frame.get("id") is None else _id(frame)
                return [Authenticate(_string(frame, "token"), number)]

    def _subscribe(self, frame: dict[str, Any]) -> Subscribe:
        number = _id(frame)
        channel = _channel(frame)
        _not_built(frame)
        since, events, seconds = self._start(frame)
        sub = channel
        if sub in self._channel_of:
            raise _Refused(ErrorCode.ALREADY_SUBSCRIBED, f"this connection has {sub!r} already", "unsubscribe it first")
        if len(self._channel_of) >= self._limits.subscriptions:
            raise _Refused(
                ErrorCode.LIMIT,
                f"a connection may have {self._limits.subscriptions} subscriptions",
                "unsubscribe some, or open another connection",
            )
        self._channel_of[sub] = channel
        return Subscribe(number, sub, channel, since, events, seconds)

    def _start(self, frame: dict[str, Any]) -> tuple[Position | None, int | None, float | None]:
        since, rewind = frame.get("since"), frame.get("rewind")
        if since is not None and rewind is not None:
            raise _Refused(ErrorCode.BAD_FIELD, "`since` and `rewind` exclude each other", "send one of them")
        if since is not None:
            try:
                return Position.parse(since), None, None
            except BadPosition as error:
                raise _Refused(ErrorCode.BAD_POSITION, str(error), "leave `since` out to begin at the head") from None
        if isinstance(rewind, int) and not isinstance(rewind, bool) and rewind > 0:
            if rewind > self._limits.history_events:
                raise _Refused(
                    ErrorCode.LIMIT,
                    f"`rewind` goes back {self._limits.history_events} events at most",
                    "ask for fewer events, for a duration, or read /channels/{channel}/events",
                )
            return None, rewind, None
        if isinstance(rewind, str) and rewind[-1:].isalpha():
            try:
                seconds = parse_duration(rewind)
            except ValueError:
                seconds = 0
            if seconds > 0:
                return None, None, seconds
        if rewind is not None:
            raise _Refused(
                ErrorCode.BAD_FIELD, "`rewind` is a number of events or a duration", 'such as 100, "90s", "10m"'
            )
        return None, None, None

    def _unsubscribe(self, frame: dict[str, Any]) -> list[Action]:
        number = _id(frame)
        if (frame.get("sub") is None) == (frame.get("channel") is None):
            raise _Refused(ErrorCode.BAD_FIELD, "`unsubscribe` takes either `sub` or `channel`", "send one of them")
        if frame.get("sub") is not None:
            sub = _string(frame, "sub")
            subs = [sub] if sub in self._channel_of else []
        else:
            channel = _channel(frame)
            subs = [sub for sub, of in self._channel_of.items() if of == channel]
        if not subs:
            raise _Refused(
                ErrorCode.NOT_SUBSCRIBED,
                "this connection has no such subscription",
                "`sub` as `subscribed` gave it, or a channel that this connection subscribed to",
            )
        for sub in subs:
            del self._channel_of[sub]
        return [Unsubscribe(sub, frames.unsubscribed(number, sub)) for sub in subs]


class _Numbered(msgspec.Struct):
    """The one field of a dropped message that is read."""

    id: int | None = None


def _number_of(text: str) -> int | None:
    """The `id` of a message that is not read otherwise."""
    if len(text) > _CHEAP:
        return None
    try:
        number = msgspec.json.decode(text, type=_Numbered).id
    except (ValueError, RecursionError, OverflowError):
        return None
    return number if _is_id(number) else None


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -_MAX_ID <= value <= _MAX_ID


def _id(frame: dict[str, Any]) -> int:
    value = frame.get("id")
    if not _is_id(value):
        raise _Refused(ErrorCode.BAD_FIELD, "`id` is missing or no integer", "a number of your own, such as 1")
    return int(value)  # type: ignore[arg-type]


def _string(frame: dict[str, Any], name: str) -> str:
    value = frame.get(name)
    if not isinstance(value, str):
        raise _Refused(ErrorCode.BAD_FIELD, f"`{name}` is missing or no string", f"send `{name}` as a string")
    return value


def _channel(frame: dict[str, Any]) -> str:
    channel = _string(frame, "channel")
    if not is_channel(channel):
        raise _Refused(
            ErrorCode.BAD_CHANNEL,
            f"{channel[:140]!a} is not a channel name",
            "1 to 128 characters of a-z 0-9 _ . : -, the first a letter or digit",
        )
    return channel


def _not_built(frame: dict[str, Any]) -> None:
    """What this release cannot do is refused: an ignored filter would be a leak."""
    if frame.get("filter") is not None:
        raise _Refused(ErrorCode.UNSUPPORTED, "`filter` is not supported in this release", "subscribe without it")
    for name in ("snapshot", "conflate"):
        wanted = frame.get(name)
        if wanted is not None and wanted is not False:
            raise _Refused(ErrorCode.UNSUPPORTED, f"`{name}` is not supported in this release", "subscribe without it")
