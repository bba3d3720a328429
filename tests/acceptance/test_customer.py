"""The customer's database side, literally: their trigger with pg_notify, adopted; their client, a bare WebSocket."""

import asyncio
import json
from typing import Any

from websockets.asyncio.client import connect

from tests.client import Client
from tests.stack import Stack

TRIGGER = """
CREATE TABLE ventas (
  id serial PRIMARY KEY, producto text NOT NULL, cantidad int NOT NULL, total numeric(12,2) NOT NULL
);

CREATE OR REPLACE FUNCTION notify_new_sale() RETURNS trigger AS $$
BEGIN
  PERFORM pg_notify('sales_channel', row_to_json(NEW)::text);
  RETURN NEW;
END;
$$ LANGUAGE plpgsql;

CREATE TRIGGER new_sale AFTER INSERT ON ventas FOR EACH ROW EXECUTE FUNCTION notify_new_sale();
"""


async def test_their_trigger_reaches_plain_clients_on_every_node_as_the_row_itself(stack: Stack, pg: Any) -> None:
    await pg.execute(TRIGGER)
    stack.run("adopt", "sales_channel", "--channel", "sales")
    async with (
        connect(stack.ws_url(0) + "/ws/sales") as first,
        connect(stack.ws_url(1) + "/ws/sales") as second,
        Client(stack.ws_url(), "sales") as v1,
    ):
        await asyncio.sleep(1)  # the contract: adopt is in force for the listener within one second
        for number in range(50):
            await pg.execute("INSERT INTO ventas (producto, cantidad, total) VALUES ($1, 2, 19.90)", f"Té {number}")
        for plain in (first, second):
            rows = [json.loads(await asyncio.wait_for(plain.recv(), 10)) for _ in range(50)]
            assert rows == [{"id": n + 1, "producto": f"Té {n}", "cantidad": 2, "total": 19.90} for n in range(50)]
        await v1.received(50)
        assert {event["op"] for event in v1.events} == {"notify"}
        rolled_back = pg.transaction()
        await rolled_back.start()
        await pg.execute("INSERT INTO ventas (producto, cantidad, total) VALUES ('nunca', 1, 1)")
        await rolled_back.rollback()
        await pg.execute("SELECT pg_notify('sales_channel', 'no es JSON: ñ \"x\"')")
        assert await asyncio.wait_for(first.recv(), 10) == 'no es JSON: ñ "x"'
    stack.run("unadopt", "sales_channel")
