"""`notifiws up` with stub services: everything of the stack is real but the listener, the nodes and the demo.

    python stub_stack.py up --data-dir D ...      the command line itself
    python stub_stack.py listener|ws|demo-sales   what it starts as its parts

Settings of the stubs: STUB_READY=no (never ready), STUB_EXIT=<code> (end at once), STUB_DEAF=yes (ignore SIGTERM).
STUB_SILENCE=<seconds> shortens the patience of the supervisor.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from pathlib import Path


async def serve(role: str) -> None:
    """Answers /healthz and /readyz, on its own port and, a node, on the shared socket too."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1]
        ready = os.environ.get("STUB_READY") != "no"
        body: dict[str, object] = {"ready": ready, "role": "leader", "pid": os.getpid()}
        if not ready:
            body["reasons"] = [{"code": "redis", "message": "stubbornly unready"}]
        status = b"200 OK" if ready or path == b"/healthz" else b"503 Service Unavailable"
        content = json.dumps(body).encode()
        writer.write(
            b"HTTP/1.1 %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (status, len(content), content)
        )
        await writer.drain()
        writer.close()

    port = os.environ["NOTIFIWS_LISTENER_PORT" if role == "listener" else "NOTIFIWS_PORT"]
    await asyncio.start_server(answer, "127.0.0.1", int(port))
    if "NOTIFIWS_SHARED_FD" in os.environ and role == "ws":
        await asyncio.start_server(answer, sock=socket.socket(fileno=int(os.environ["NOTIFIWS_SHARED_FD"])))
    await stopped()


async def stopped() -> None:
    """Wait for SIGTERM."""
    done = asyncio.Event()
    deaf = os.environ.get("STUB_DEAF") == "yes"
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, (lambda: None) if deaf else done.set)
    await done.wait()


def main() -> None:
    """One of the above."""
    role = sys.argv[1]
    if role in ("listener", "ws", "demo-sales"):
        if "STUB_EXIT" in os.environ and role == "listener":
            print("stub: a wrong setting", file=sys.stderr)
            sys.exit(int(os.environ["STUB_EXIT"]))
        asyncio.run(stopped() if role == "demo-sales" else serve(role))
        return

    from notifiws.cli.app import main as cli
    from notifiws.stack import dashboard, database, parts, vitals

    async def prepare(url: str, *, demo: bool, reader_password: str | None = None) -> None:
        pass

    database.prepare = prepare
    parts.command = lambda *arguments: [sys.executable, str(Path(__file__).resolve()), *arguments]
    dashboard.missing = lambda: "not in this test"
    with contextlib.suppress(KeyError):
        vitals.SILENCE_SECONDS = float(os.environ["STUB_SILENCE"])
    cli()


if __name__ == "__main__":
    main()
