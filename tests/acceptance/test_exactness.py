"""What is committed arrives, once, in order, and nothing else: 4 writers, 40 clients, two nodes."""

import asyncio
import random
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
from websockets.asyncio.client import connect

from tests.client import Client
from tests.stack import Stack
from tests.workload import DDL, Ledger, write


async def writers(stack: Stack, table: str, ledger: Ledger, transactions: int) -> None:
    async def one(number: int) -> None:
        connection = await stack.pg()
        await write(connection, table, ledger, 1 + number * 1_000_000, transactions, seed=number)
        await connection.close()

    await asyncio.gather(*(one(number) for number in range(4)))


async def test_forty_clients_on_two_nodes_see_each_committed_change_once(stack: Stack, pg: Any) -> None:
    await pg.execute(DDL.format(table="exact", channel="exact"))
    ledger = Ledger()
    async with AsyncExitStack() as clients:
        everyone = [
            await clients.enter_async_context(Client(stack.ws_url(number % 2), "exact")) for number in range(40)
        ]
        await writers(stack, "exact", ledger, 150)
        for number, client in enumerate(everyone):
            await client.received(ledger.count)
            ledger.check(client, f"client {number}")


async def test_an_open_transaction_delays_nobody_and_its_events_come_when_it_commits(stack: Stack, pg: Any) -> None:
    await pg.execute(DDL.format(table="held", channel="held"))
    ledger = Ledger()
    slow = await stack.pg()
    async with Client(stack.ws_url(0), "held") as client:
        transaction = slow.transaction()
        await transaction.start()
        await slow.execute("insert into held (id) values (-5)")
        await writers(stack, "held", ledger, 50)
        await client.received(ledger.count)
        ledger.check(client)
        await slow.execute("update held set v = v + 1 where id = -5")
        assert -5 not in {event["new"]["id"] for event in client.events}
        await transaction.commit()
        ledger.updates[-5] = 1
        await client.received(ledger.count)
        ledger.check(client)
    await slow.close()


async def test_a_client_that_drops_and_resumes_on_any_node_misses_and_repeats_nothing(stack: Stack, pg: Any) -> None:
    await pg.execute(DDL.format(table="resumed", channel="resumed"))
    ledger = Ledger()
    chance = random.Random(11)
    nodes = [stack.ws_url(0), stack.ws_url(1)]
    async with AsyncExitStack() as clients:
        everyone = [
            await clients.enter_async_context(Client(lambda: chance.choice(nodes), "resumed")) for _ in range(10)
        ]
        enough = asyncio.Event()

        async def writer(number: int) -> None:
            connection = await stack.pg()
            first = 1 + number * 1_000_000
            while not enough.is_set():
                await write(connection, "resumed", ledger, first, 20, seed=first)
                first += 20
            await connection.close()

        writing = asyncio.gather(*(writer(number) for number in range(4)))
        for _ in range(40):
            await asyncio.wait([writing], timeout=0.05)
            chance.choice(everyone).drop()
        enough.set()
        await writing
        for number, client in enumerate(everyone):
            await client.received(ledger.count)
            ledger.check(client, f"client {number}")
    assert sum(len(client.subscribed) for client in everyone) > 20


async def test_subscribed_means_live(stack: Stack, pg: Any) -> None:
    """A row committed right after `subscribed` always arrives, on a channel that nobody else keeps subscribed."""
    for number in range(20):
        table, channel = f"fresh_{number}", f"fresh-{number}"
        await pg.execute(f"create table {table} (id int primary key); select notifiws.watch('{table}', '{channel}')")
        async with Client(stack.ws_url(number % 2), channel) as client:
            await pg.execute(f"insert into {table} values (1)")
            await client.received(1, seconds=5)
            assert [event["new"] for event in client.events] == [{"id": 1}]


async def test_an_open_plain_socket_means_live(stack: Stack, pg: Any) -> None:
    """The same of a plain client, which is told nothing but that its socket is open."""
    for number in range(20):
        channel = f"plain-{number}"
        async with connect(f"{stack.ws_url(number % 2)}/ws/{channel}") as client:
            await pg.execute("select notifiws.emit($1, '[1]')", channel)
            assert await asyncio.wait_for(client.recv(), 5) == "[1]"


async def test_a_rolled_back_statement_leaves_nothing(stack: Stack, pg: Any) -> None:
    await pg.execute("create table undone (id int primary key); select notifiws.watch('undone', 'undone')")
    async with Client(stack.ws_url(), "undone") as client:
        await pg.execute("insert into undone values (1)")
        for statement in ("insert into undone values (2), (1)", "update undone set id = 1 / 0"):
            try:
                await pg.execute(statement)
            except asyncpg.PostgresError as error:
                assert error.sqlstate in ("23505", "22012")
        await pg.execute("delete from undone")
        await client.received(2)
        assert [(event["op"], event["key"]) for event in client.events] == [
            ("insert", {"id": 1}),
            ("delete", {"id": 1}),
        ]
