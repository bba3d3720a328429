"""An embedded Postgres and Valkey without a supervisor, with fsync as it ships, and a relay that comes and goes.

For questions about the database alone: what a trigger costs writers while a relay is awake, and while none is alive.
"""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx

from bench.scenario import BenchError
from bench.stack import temporary_folder
from db.migrate import migrate
from notifiws.stack.parts import command
from notifiws.stack.ports import free_port
from notifiws.stack.postgres import OWNER, PostgresServer, binaries
from notifiws.stack.process import die_with_parent
from notifiws.stack.valkey import ValkeyServer

_READY_SECONDS = 30.0
_STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Database:
    """A migrated database as its owner sees it, and the Redis that a relay of it publishes to."""

    postgres: PostgresServer
    valkey: ValkeyServer
    folder: Path

    @property
    def url(self) -> str:
        """Of the database, as the owner."""
        return self.postgres.url

    async def connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        """A connection as the owner."""
        return await asyncpg.connect(self.url)

    @asynccontextmanager
    async def relay(self) -> AsyncIterator[None]:
        """`notifiws listener`, from when it leads until it has left."""
        port = free_port()
        parent = os.getpid()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("NOTIFIWS_")}
        environment |= {
            "DATABASE_URL": self.url,
            "REDIS_URL": self.valkey.url,
            "NOTIFIWS_LISTENER_PORT": str(port),
            "NOTIFIWS_AUTH": "none",
        }
        with (self.folder / "listener.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *command("listener"),
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=log,
                process_group=0,
                preexec_fn=lambda: die_with_parent(signal.SIGKILL, parent),
            )
        try:
            await _leads(process, port)
            yield
        finally:
            if process.returncode is None:
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _STOP_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()

    async def pgbench(self, script: str, *, clients: int, seconds: float) -> float:
        """Run a script of pgbench's from that many connections; return transactions a second. Raises BenchError."""
        path = self.folder / "script.sql"
        path.write_text(script, encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            str(binaries(self.postgres.major) / "pgbench"),
            *("--no-vacuum", "--protocol=prepared", f"--client={clients}", f"--time={seconds:g}", f"--file={path}"),
            *("--host=127.0.0.1", f"--port={self.postgres.port}", f"--username={OWNER}", "notifiws"),
            env=os.environ | {"PGPASSWORD": self.postgres.owner_password},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        for line in out.decode().splitlines():
            if line.startswith("tps = ") and process.returncode == 0:
                return float(line.split()[2])
        raise BenchError(f"pgbench ended with {process.returncode}: {err.decode()[-500:]}")


@asynccontextmanager
async def database() -> AsyncIterator[Database]:
    """Start both servers, migrate, and remove everything at the end."""
    folder = temporary_folder()
    postgres, valkey = PostgresServer(folder / "postgres"), ValkeyServer(folder / "valkey")
    try:
        # Here, and not in a thread: the servers die with the thread that started them.
        postgres.start()
        valkey.start()
        connection = await asyncpg.connect(postgres.url)
        try:
            await migrate(connection)
        finally:
            await connection.close()
        yield Database(postgres, valkey, folder)
    finally:
        valkey.stop()
        postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def _leads(process: asyncio.subprocess.Process, port: int) -> None:
    async with httpx.AsyncClient(timeout=2.0) as client:
        with suppress(TimeoutError):
            async with asyncio.timeout(_READY_SECONDS):
                while process.returncode is None:
                    with suppress(httpx.HTTPError):
                        said = (await client.get(f"http://127.0.0.1:{port}/readyz")).json()
                        if said.get("ready") and said.get("role") == "leader":
                            return
                    await asyncio.sleep(0.05)
    raise BenchError(f"the listener does not lead (exit {process.returncode})")
