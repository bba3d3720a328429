"""`notifiws tail`: follow a channel in the terminal, through every reconnect."""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from notifiws.cli.errors import Failed, NotRunning, UsageError
from notifiws.cli.up import DataDir
from notifiws.printable import printable

_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")
_DURATION = re.compile(r"\d{1,12}(?:\.\d{1,6})?(?:ms|s|m|h|d)", re.ASCII).fullmatch
# Close codes after which coming back is pointless.
_FINAL_CODES = frozenset({1002, 1003, 1007, 1009, 4400, 4401, 4403})
# A node says something at least every `ping_seconds`, and the connection's own pings find a dead one sooner.
_PING_SECONDS = 10


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(tail)


def tail(
    channel: Annotated[str, typer.Argument(help="the channel to follow")],
    since: Annotated[
        str | None, typer.Option(help="begin at a POSITION, or so long ago: 90s, 10m, 24h", metavar="POSITION|DURATION")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON event a line, with its position")] = False,
    data_dir: DataDir = Path(".notifiws"),
    url: Annotated[str | None, typer.Option(help="a node's or balancer's URL; default: the running stack's")] = None,
) -> None:
    """Print a channel's events as they are committed, until Ctrl-C. Reconnects and resumes by itself."""
    from shared.channel import BadChannel, check_channel

    try:
        check_channel(channel)
    except BadChannel as error:
        raise UsageError(str(error)) from error
    begin = _begin(since)
    if url is None:
        url = asyncio.run(_shared_url(data_dir))
    asyncio.run(_until_stopped(Follower(_socket_url(url), channel, begin, as_json=as_json)))


def _begin(since: str | None) -> dict[str, str]:
    """What of a subscribe says where to begin."""
    from shared.position import BadPosition, Position

    if since is None:
        return {}
    if _DURATION(since.lower()):
        return {"rewind": since.lower()}
    try:
        return {"since": str(Position.parse(since))}
    except BadPosition as error:
        raise UsageError(f"--since: {error}", "or give a duration such as 90s, 10m, 24h") from error


async def _shared_url(data_dir: Path) -> str:
    from notifiws.stack.directory import DataDirectory
    from notifiws.stack.status import status

    answer = await status(DataDirectory(data_dir))
    if answer is None:
        raise NotRunning(f"no stack runs in {DataDirectory(data_dir).path}", "notifiws up, or give --url")
    return str(answer["ws_url"])


def _socket_url(url: str) -> str:
    base = re.sub(r"^http", "ws", url.rstrip("/"))
    if not base.startswith(("ws://", "wss://")):
        raise UsageError(f"--url: {url!r} is no address", "such as http://127.0.0.1:8000")
    return base if base.endswith("/ws") else base + "/ws"


async def _until_stopped(follower: "Follower") -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(follower.follow())
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        pass
    except BrokenPipeError:
        # Who read our output has seen enough. Python would complain about the rest when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Follower:
    """A `notifiws.v1` client that prints, remembers its position, and resumes with it."""

    def __init__(self, url: str, channel: str, begin: dict[str, str], *, as_json: bool) -> None:
        self._url = url
        self._channel = channel
        self._begin: dict[str, str] = begin
        self._as_json = as_json

    async def follow(self) -> None:
        """For ever, or until the server says that coming back is pointless."""
        from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

        from shared.backoff import backoff

        attempt = 0
        while True:
            try:
                async for _ in self._frames():
                    attempt = 0
                why = "the connection was closed"
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else 1006
                why = f"closed with {code} {closed.rcvd.reason if closed.rcvd else ''}".rstrip()
                if code in _FINAL_CODES:
                    raise Failed(f"{self._url} {why}", "docs/protocol.md says what each close code means") from None
            except InvalidStatus as refused:
                if refused.response.status_code < 500:
                    raise Failed(
                        f"{self._url} refused the connection with HTTP {refused.response.status_code}",
                        "is this the address of a notifiws node?",
                    ) from None
                why = f"HTTP {refused.response.status_code}"
            except BrokenPipeError:
                raise
            except (OSError, InvalidHandshake, TimeoutError) as error:
                why = str(error) or type(error).__name__
            except _TryAgainError as error:
                why = str(error)
            attempt += 1
            if attempt == 1:
                _say(f"{why}; reconnecting")
            await asyncio.sleep(backoff(attempt))

    async def _frames(self) -> Any:
        import msgspec
        from websockets.asyncio.client import connect

        async with connect(
            self._url,
            subprotocols=["notifiws.v1"],  # type: ignore[list-item]
            compression=None,
            max_size=None,
            ping_interval=_PING_SECONDS,
            ping_timeout=_PING_SECONDS,
            proxy=None,
        ) as connection:
            await connection.send(
                msgspec.json.encode({"type": "subscribe", "id": 1, "channel": self._channel, **self._begin}).decode()
            )
            async for message in connection:
                self._take(msgspec.json.decode(message, type=dict[str, msgspec.Raw]))
                yield None

    def _take(self, frame: dict[str, Any]) -> None:
        import msgspec

        def text(name: str) -> str:
            return str(msgspec.json.decode(frame[name]))

        match text("type"):
            case "subscribed":
                if "recovered" in frame and msgspec.json.decode(frame["recovered"]) is False:
                    _say(f"history is gone ({text('reason')}): events before {text('position')} may be missing")
                self._begin = {"since": text("position")}
                if not msgspec.json.decode(frame["declared"]):
                    _say(f"nothing writes to {self._channel} yet")
            case "events":
                position = text("position")
                for raw in msgspec.json.decode(frame["events"], type=list[msgspec.Raw]):
                    self._print(bytes(raw), position)
                sys.stdout.flush()
                self._begin = {"since": position}
            case "reset":
                _say(f"history is gone ({text('reason')}): events before {text('position')} may be missing")
                self._begin = {"since": text("position")}
            case "error":
                if text("code") not in ("unavailable", "internal", "rate_limited"):
                    raise Failed(text("message"), text("fix") if "fix" in frame else None, code=text("code"))
                raise _TryAgainError(text("message"))

    def _print(self, event: bytes, position: str) -> None:
        """An event as it was captured: numbers keep their digits."""
        import msgspec

        parts = msgspec.json.decode(event, type=dict[str, msgspec.Raw])
        at = f"{position.rpartition('-')[0]}-{bytes(parts['id']).decode()}"
        # A value of type json may have line ends between its parts: a line of its own would read like another event.
        event = event.translate(_ONE_LINE)
        if self._as_json:
            tail = f',"channel":"{self._channel}","position":"{at}"}}'
            sys.stdout.write(event[:-1].decode() + tail + "\n")
            return
        words = [msgspec.json.decode(parts["at"])[11:23], msgspec.json.decode(parts["op"])]
        if "table" in parts:
            words.append(msgspec.json.decode(parts["table"]))
        shown = parts.get("new") or parts.get("payload") or parts.get("key")
        if shown is not None:
            words.append(bytes(shown).translate(_ONE_LINE).decode())
        line = " ".join(words)
        sys.stdout.write((printable(line) if sys.stdout.isatty() else line) + "\n")


class _TryAgainError(Exception):
    """The node cannot serve just now."""


def _say(text: str) -> None:
    sys.stderr.write(f"tail: {text}\n")
