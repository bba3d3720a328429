"""A physical standby of an embedded Postgres: made by pg_basebackup, streaming, promoted when a test says so."""

import asyncio
import os
import subprocess
from pathlib import Path

import asyncpg

from notifiws.stack.postgres import PostgresServer, binaries


class Standby:
    """One. `server.url_of` reaches it; writes are refused until `promote`."""

    def __init__(self, primary: PostgresServer, home: Path) -> None:
        self.primary = primary
        self.server = PostgresServer(
            home,
            major=primary.major,
            fsync=False,
            superuser_password=primary.superuser_password,
            owner_password=primary.owner_password,
        )

    async def start(self) -> None:
        """Copy the primary, and follow it."""
        account = self.primary.account
        self.server.home.mkdir(mode=0o700)
        if account:
            os.chown(self.server.home, account.uid, account.gid)
        argv = [
            str(binaries(self.primary.major) / "pg_basebackup"),
            *("-D", str(self.server.data), "-R", "-X", "stream", "-c", "fast", "-U", "postgres"),
            *("-h", "127.0.0.1", "-p", str(self.primary.port)),
        ]
        subprocess.run(
            account.command(argv) if account else argv,
            check=True,
            capture_output=True,
            cwd="/",
            env=os.environ | {"PGPASSWORD": self.primary.superuser_password},
        )
        (self.server.home / f"{self.primary.major}.bootstrapped").touch()
        self.server.launch()
        await self._until("select pg_is_in_recovery()")

    async def reach(self) -> None:
        """Wait until it has replayed all that the primary has written."""
        primary = await self._connect(self.primary)
        try:
            lsn = await primary.fetchval("select pg_current_wal_flush_lsn()::text")
        finally:
            await primary.close()
        await self._until(f"select pg_last_wal_replay_lsn() >= '{lsn}'::pg_lsn")

    async def lag(self) -> None:
        """Follow no further: it does not even receive any more."""
        connection = await self._connect(self.server)
        try:
            await connection.execute("alter system set primary_conninfo = ''")
            await connection.execute("select pg_reload_conf()")
        finally:
            await connection.close()
        await self._until("select not exists (select from pg_stat_wal_receiver)")

    async def promote(self) -> None:
        """Become the primary. The other one must be gone."""
        connection = await self._connect(self.server)
        try:
            await connection.execute("select pg_promote()")
        finally:
            await connection.close()
        await self._until("select not pg_is_in_recovery()")

    async def _connect(self, server: PostgresServer) -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(server.url_of("postgres", superuser=True), timeout=5)

    async def _until(self, question: str) -> None:
        async with asyncio.timeout(30):
            while True:
                try:
                    connection = await self._connect(self.server)
                except (OSError, asyncpg.PostgresError):
                    await asyncio.sleep(0.05)
                    continue
                try:
                    if await connection.fetchval(question):
                        return
                finally:
                    await connection.close()
                await asyncio.sleep(0.05)
