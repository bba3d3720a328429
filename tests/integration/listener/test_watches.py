"""A watch that captures no longer what it should is said by the listener, and no longer once it is mended."""

import asyncpg

from tests.integration.listener.conftest import ListenerProcess, eventually


async def test_a_watch_that_is_not_in_force_is_said(pg: asyncpg.Connection, listener: ListenerProcess) -> None:
    await pg.execute("create table rota (id int primary key, v int)")
    await pg.execute("select notifiws.watch('rota', 'rota', condition => 'new.v > 1')")
    await pg.execute("alter table rota rename v to w")

    async def said(words: str) -> bool:
        warnings = (await listener.readyz()).get("warnings", [])
        return words in str([warning for warning in warnings if warning["code"] == "watches"])

    # DDL rings no bell: it is followed within 3 s
    await eventually(lambda: said("public.rota on channel rota: stopped"), 30)
    assert (await listener.readyz())["ready"]
    assert await listener.metric("watches_broken") == 1
    await pg.execute("select notifiws.watch('rota', 'rota', condition => 'new.w > 1')")
    await eventually(lambda: said("[]"), 30)
    assert await listener.metric("watches_broken") == 0
