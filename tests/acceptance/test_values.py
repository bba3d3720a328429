"""Values arrive exactly: quotes, control characters, ñ, emoji, 5 MB of jsonb, NaN, 30-digit numerics."""

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.client import Client
from tests.stack import Stack

TEXTS = [
    "Té 'verde' \"orgánico\" \\ ñandú",
    "tab\t newline\n bell\x07 del\x7f",
    "🧉 👨‍👩‍👧 日本語 \u2028\u2029",
    "</script><!-- ${x} %s {} [0]",
    "",
]


@pytest.fixture(scope="module")
def made() -> list[str]:
    return []


@pytest.fixture
async def values(pg: Any, made: list[str]) -> None:
    if not made:
        await pg.execute(
            """create table valores (id int primary key, t text, n numeric, f float8, j jsonb, b bytea, at timestamptz);
            select notifiws.watch('valores', 'valores')"""
        )
        made.append("valores")


@pytest.mark.usefixtures("values")
@pytest.mark.parametrize("number", range(len(TEXTS)))
async def test_texts(stack: Stack, pg: Any, number: int) -> None:
    async with Client(stack.ws_url(), "valores") as v1, connect(stack.ws_url() + "/ws/valores") as plain:
        await asyncio.sleep(0)
        await pg.execute("insert into valores (id, t) values ($1, $2)", number, TEXTS[number])
        await v1.received(1)
        assert v1.events[0]["new"]["t"] == TEXTS[number]
        assert json.loads(await asyncio.wait_for(plain.recv(), 10))["t"] == TEXTS[number]


@pytest.mark.usefixtures("values")
async def test_numbers_keep_postgres_digits_as_row_to_json_writes_them(stack: Stack, pg: Any) -> None:
    digits = "123456789012345678901234567890.10"
    async with connect(stack.ws_url() + "/ws/valores") as plain:
        await pg.execute(f"insert into valores (id, n, f) values (100, {digits}, 'NaN'), (101, 'NaN', '-Infinity')")
        first, second = [await asyncio.wait_for(plain.recv(), 10) for _ in range(2)]
        assert f'"n":{digits}' in first.replace(" ", "")
        assert json.loads(first)["f"] == "NaN"
        assert (json.loads(second)["n"], json.loads(second)["f"]) == ("NaN", "-Infinity")
        rows = await pg.fetch("select row_to_json(v)::text from valores v where id in (100, 101) order by id")
        assert [first, second] == [row[0] for row in rows]


@pytest.mark.usefixtures("values")
async def test_five_megabytes(stack: Stack, pg: Any) -> None:
    size = 5_000_000
    async with (
        Client(stack.ws_url(0), "valores") as v1,
        connect(stack.ws_url(1) + "/ws/valores", max_size=None) as plain,
    ):
        await pg.execute(
            "insert into valores (id, j) values (200, jsonb_build_object('x', repeat('é', $1)))", size // 2
        )
        await v1.received(1)
        assert v1.events[0]["new"]["j"] == {"x": "é" * (size // 2)}
        assert json.loads(await asyncio.wait_for(plain.recv(), 30))["j"] == {"x": "é" * (size // 2)}


@pytest.mark.usefixtures("values")
async def test_the_writers_session_settings_change_nothing(stack: Stack, pg: Any) -> None:
    async with Client(stack.ws_url(), "valores") as v1:
        await pg.execute(
            """set timezone = 'Asia/Tokyo'; set bytea_output = escape; set extra_float_digits = -10;
            set datestyle = 'SQL, DMY'; set search_path = pg_temp;
            insert into public.valores (id, f, b, at)
            values (300, 0.1::float8 + 0.2, '\\x00ff', '2026-11-24 10:00:00.5+00')"""
        )
        await v1.received(1)
        new = v1.events[0]["new"]
        assert (new["f"], new["b"], new["at"]) == ("0.30000000000000004", "\\x00ff", "2026-11-24T10:00:00.5+00:00")


async def test_the_event_object_is_the_contracts(stack: Stack, pg: Any) -> None:
    await pg.execute(
        "create table forma (id int primary key, nombre text, stock int); select notifiws.watch('forma', 'forma')"
    )
    # A plain client is not told when it is live, so it says from where on it wants the events.
    async with (
        Client(stack.ws_url(), "forma") as v1,
        connect(f"{stack.ws_url()}/ws/forma?format=event&since={v1.position}") as plain,
    ):
        await pg.execute("insert into forma values (7, 'Té', 12)")
        await pg.execute("update forma set stock = 3")
        await pg.execute("update forma set id = 8")
        await pg.execute("delete from forma")
        await pg.execute("truncate forma")
        await v1.received(6)
        tx = {event.pop("tx") for event in v1.events}
        assert len(tx) == 5
        ids = [event.pop("id") for event in v1.events]
        assert ids == sorted(ids)
        for event in v1.events:
            assert event.pop("at").endswith("Z")
        table = {"table": "public.forma"}
        row = {"id": 7, "nombre": "Té", "stock": 3}
        assert v1.events == [
            {"op": "insert", **table, "key": {"id": 7}, "new": row | {"stock": 12}},
            {"op": "update", **table, "key": {"id": 7}, "new": row, "old": {"id": 7, "stock": 12}},
            {"op": "delete", **table, "key": {"id": 7}, "old": row},
            {"op": "insert", **table, "key": {"id": 8}, "new": row | {"id": 8}},
            {"op": "delete", **table, "key": {"id": 8}, "old": row | {"id": 8}},
            {"op": "truncate", **table, "key": None},
        ]
        events = [json.loads(await asyncio.wait_for(plain.recv(), 10)) for _ in range(6)]
        assert [event["op"] for event in events] == [event["op"] for event in v1.events]
        assert {event["channel"] for event in events} == {"forma"}
        assert events[-1]["position"] == v1.position
