"""The nodes of `notifiws up` read the log as a role that may do nothing else, and answer from it."""

import asyncio
from pathlib import Path

import asyncpg
import httpx
import pytest

from tests.stack import Stack


async def test_nodes_read_old_positions_as_a_role_of_their_own(tmp_path: Path) -> None:
    # Redis keeps next to nothing, the log a day.
    with Stack(tmp_path, nodes=1, NOTIFIWS_HISTORY_BYTES="1KB") as stack:
        pg = await stack.pg()
        for number in range(20):
            await pg.fetchval("select notifiws.emit('sales', to_jsonb(repeat('x', 300) || $1))", str(number))
            await asyncio.sleep(0.02)  # a tick each
        async with httpx.AsyncClient(base_url=stack.http_url()) as http:
            async with asyncio.timeout(20):
                found: list[str] = []
                while len(found) < 20:
                    page = (await http.get("/channels/sales/events", params={"limit": 1000})).json()
                    found = [event["payload"].lstrip("x") for event in page["events"]]
            assert found == [str(number) for number in range(20)]
        pid = stack.status["nodes"][0]["pid"]
        environment = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
        (reader,) = (line.partition("=")[2] for line in environment if line.startswith("NOTIFIWS_READER_DATABASE_URL="))
        assert not any(line.startswith("DATABASE_URL=") for line in environment)
        assert "notifiws_node:" in reader
        as_reader = await asyncpg.connect(reader)
        assert await as_reader.fetchval("select count(*) from notifiws.outbox") == 20
        await pg.execute("create table theirs (id int)")
        for statement in ("select notifiws.emit('sales', '1')", "select * from theirs", "delete from notifiws.tick"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await as_reader.execute(statement)
        await as_reader.close()
        await pg.close()
