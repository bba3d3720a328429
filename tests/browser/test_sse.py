"""A real EventSource: killed nodes in the midst of writing, and it ends exact, by itself."""

import os
import signal
from typing import Any

import asyncpg
import pytest
from playwright.async_api import Browser

from tests.stack import Stack

pytestmark = pytest.mark.slow

_LISTEN = """() => {
  const seen = window.seen = {ids: [], opens: 0, errors: 0, resets: 0, position: ""};
  const source = window.source = new EventSource("/sse/sse_ventas");
  source.onopen = () => seen.opens++;
  source.onerror = () => seen.errors++;
  source.addEventListener("reset", () => seen.resets++);
  source.onmessage = (event) => {
    seen.ids.push(JSON.parse(event.data).new.id);
    seen.position = event.lastEventId;
  };
  return new Promise((resolve) => source.addEventListener("subscribed", resolve, {once: true}));
}"""


async def test_event_source_resumes_by_itself_when_its_node_is_killed(
    browser: Browser, bare: Stack, bare_pg: "asyncpg.Connection[Any]"
) -> None:
    await bare_pg.execute("create table sse_ventas (id bigint primary key)")
    await bare_pg.fetchval("select notifiws.watch('sse_ventas', 'sse_ventas')")
    page = await browser.new_page()
    await page.goto(bare.http_url() + "/healthz")
    await page.evaluate(_LISTEN)
    written = 0

    async def write(count: int) -> None:
        nonlocal written
        for _ in range(count):
            written += 1
            await bare_pg.execute("insert into sse_ventas values ($1)", written)

    await write(5)
    await page.wait_for_function("seen.ids.length >= 5")
    for number in (0, 1):  # it is connected to one of them
        node = bare.status["nodes"][number]
        os.kill(node["pid"], signal.SIGKILL)
        await write(20)
        bare.wait("ready")
        await write(5)
        await page.wait_for_function(f"seen.ids.length >= {written}", timeout=30_000)
    seen = await page.evaluate("seen")
    assert seen["ids"] == list(range(1, written + 1))
    assert seen["resets"] == 0
    assert seen["opens"] >= 2, "neither kill was felt"
    await page.close()
