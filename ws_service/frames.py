"""What a node itself says: the small frames of `notifiws.v1`, and server-sent events.

`events` frames come finished from the listener.
"""

from typing import Any, Final

import msgspec

from shared.codes import ErrorCode, Lost
from shared.position import Position

_encode = msgspec.json.Encoder().encode

# Seconds after which a client that heard nothing asks, and a channel that stood still repeats its position.
PING_SECONDS: Final = 25


def welcome(session: str, node: str, version: str, limits: dict[str, int], request: int | None = None) -> bytes:
    """The connection may subscribe. `request`: the `id` of the `auth` that this answers."""
    frame: dict[str, Any] = {
        "type": "welcome",
        "session": session,
        "node": node,
        "version": version,
        "ping_seconds": PING_SECONDS,
        "limits": limits,
    }
    if request is not None:
        frame["id"] = request
    return _encode(frame)


def subscribed(
    request: int,
    sub: str,
    channel: str,
    position: Position,
    head: Position,
    *,
    declared: bool,
    recovered: bool | None = None,
    reason: Lost | None = None,
) -> bytes:
    """The subscription stands at `position`, and no later event can be missed. `recovered`: None without a resume."""
    frame: dict[str, Any] = {
        "type": "subscribed",
        "id": request,
        "sub": sub,
        "channel": channel,
        "position": str(position),
        "head": str(head),
        "live": True,
        "declared": declared,
    }
    if recovered is not None:
        frame["recovered"] = recovered
    if reason is not None:
        frame["reason"] = reason
    return _encode(frame)


def unsubscribed(request: int | None, sub: str, reason: str | None = None) -> bytes:
    """No frame of this `sub` follows."""
    frame: dict[str, Any] = {"type": "unsubscribed", "sub": sub}
    if request is not None:
        frame["id"] = request
    if reason is not None:
        frame["reason"] = reason
    return _encode(frame)


def standstill(channel: str, head: Position, position: Position) -> bytes:
    """Nothing happened, and this is where the channel stands: at its head, and as far as `position` nothing follows."""
    frame = {"type": "events", "channel": channel, "prev": str(head), "position": str(position), "events": []}
    return _encode(frame)


def reset(sub: str, channel: str, reason: Lost, position: Position) -> bytes:
    """History is broken: fetch afresh, events go on from `position`."""
    return _encode({"type": "reset", "sub": sub, "channel": channel, "reason": reason, "position": str(position)})


def error(request: int | None, code: ErrorCode, message: str, fix: str | None = None) -> bytes:
    """What a client asked for is refused."""
    frame: dict[str, Any] = {"type": "error", "code": code, "message": message}
    if request is not None:
        frame["id"] = request
    if fix is not None:
        frame["fix"] = fix
    return _encode(frame)


def pong(request: int) -> bytes:
    """The answer to `ping`."""
    return _encode({"type": "pong", "id": request})


def reconnect(after_ms: int) -> bytes:
    """The node goes away; come back, to another, after this time."""
    return _encode({"type": "reconnect", "after_ms": after_ms})


def server_sent(name: str, data: bytes, position: Position | None = None, retry_ms: int | None = None) -> bytes:
    """One server-sent event. Line ends in `data`, where JSON may have them between its parts, begin a line anew."""
    lines = [b"event: " + name.encode()]
    if position is not None:
        lines.append(b"id: " + str(position).encode())
    if retry_ms is not None:
        lines.append(b"retry: %d" % retry_ms)
    # Not splitlines(), which knows ends that this format does not.
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\ndata: ")
    lines.append(b"data: " + data)
    return b"\n".join(lines) + b"\n\n"
