"""A physical standby of an embedded Postgres: made by pg_basebackup, streaming, promoted when a test says so."""

import asyncio
import subprocess
from pathlib import Path

import asyncpg

from notifiws.stack.postgres import PostgresServer
from notifiws.stack.private import give_folder


class Standby(PostgresServer):
    """A physical replica of another server; it refuses writes until `promote`."""

    def __init__(self, primary: PostgresServer, home: Path) -> None:
        super().__init__(
            home,
            major=primary.major,
            fsync=False,
            superuser_password=primary.superuser_password,
            owner_password=primary.owner_password,
            options={"hot_standby": "on"},
        )
        self.primary = primary

    def follow(self) -> "Standby":
        """Copy the primary, and follow it from then on."""
        self._claim_home()
        give_folder(self.data, self.account)
        argv = [str(self._bin / "pg_basebackup"), "-D", str(self.data), "-R", "-X", "stream", "-c", "fast", "--no-sync"]
        argv += ["-d", self.primary.url_of("postgres", superuser=True).replace("/postgres", "/")]
        done = subprocess.run(
            self.account.command(argv) if self.account else argv,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=self._environment(),
        )
        assert done.returncode == 0, done.stderr
        self.start()
        return self

    def bootstrap(self) -> None:
        """Nothing: it is the primary's copy."""

    def accepting(self) -> bool:
        """Also while it follows."""
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()[7].strip() in ("ready", "standby")
        except (OSError, IndexError):
            return False

    async def reach(self) -> None:
        """Wait until it has replayed all that the primary has written."""
        lsn = await self._ask(self.primary, "select pg_current_wal_flush_lsn()::text")
        await self._until(f"select pg_last_wal_replay_lsn() >= '{lsn}'::pg_lsn")

    async def lag(self) -> None:
        """Follow no further: it does not even receive any more."""
        await self._ask(self, "alter system set primary_conninfo = ''")
        await self._ask(self, "select pg_reload_conf()")
        await self._until("select not exists (select from pg_stat_wal_receiver)")

    async def promote(self) -> None:
        """Become the primary. The other one must be gone."""
        await self._ask(self, "select pg_promote()")
        await self._until("select not pg_is_in_recovery()")

    async def _ask(self, server: PostgresServer, question: str) -> object:
        connection = await asyncpg.connect(server.url_of("postgres", superuser=True), timeout=10)
        try:
            return await connection.fetchval(question)
        finally:
            await connection.close()

    async def _until(self, question: str) -> None:
        async with asyncio.timeout(30):
            while not await self._ask(self, question):
                await asyncio.sleep(0.05)
