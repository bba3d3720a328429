"""The dashboard in a real browser, on a real stack: it moves by itself and shows what the database holds."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page

from tests.stack import Stack

# What a person would see if they never blinked.
_WATCH = """
window.statuses = [];
new MutationObserver(() => {
  const status = document.querySelector("[data-status]")?.dataset.status;
  if (status && status !== statuses.at(-1)) statuses.push(status);
}).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-status"] });
window.shift = 0;
new PerformanceObserver((list) => list.getEntries().forEach((entry) => (shift += entry.value)))
  .observe({ type: "layout-shift", buffered: true });
"""
_SHOWN = """() => ({
  sales: document.querySelector("[data-testid=sales-today]")?.dataset.value,
  revenue: document.querySelector("[data-testid=revenue-today]")?.dataset.value,
  latest: [...document.querySelectorAll("[data-testid=latest] tr[data-id]")].map((row) => row.dataset.id).join(),
})"""
_TRUTH = """
SELECT count(*)::text AS sales, coalesce(sum(total), 0.00)::text AS revenue,
       (SELECT string_agg(id::text, ',') FROM (SELECT id FROM ventas ORDER BY id DESC LIMIT 10) newest) AS latest
FROM ventas WHERE creada >= current_date
"""
_SELL = "INSERT INTO ventas (tienda_id, producto_id, cantidad, total) SELECT 1, 1, 1, 7.35 FROM generate_series(1, $1)"


@pytest.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context(locale="es-ES", viewport={"width": 1280, "height": 940})
    await context.add_init_script(_WATCH)
    yield context
    await context.close()


async def _live(page: Page) -> None:
    await page.wait_for_selector("[data-status=live]", timeout=30_000)
    await page.wait_for_selector("[data-testid=sales-today]", timeout=30_000)


async def _open(context: BrowserContext, url: str) -> Page:
    page = await context.new_page()
    await page.goto(url)
    await _live(page)
    return page


async def _equals_database(pg: Any, *pages: Page) -> None:
    """While nobody can sell, the page comes to show exactly what the table holds."""
    async with pg.transaction():
        await pg.execute("LOCK TABLE ventas IN SHARE MODE")
        truth = dict(await pg.fetchrow(_TRUTH))
        for page in pages:
            try:
                async with asyncio.timeout(8):
                    while await page.evaluate(_SHOWN) != truth:
                        await asyncio.sleep(0.05)
            except TimeoutError:
                assert await page.evaluate(_SHOWN) == truth


async def test_the_counter_moves_by_itself_and_equals_the_database(
    demo: Stack, demo_pg: Any, context: BrowserContext
) -> None:
    faults: list[str] = []
    context.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    context.on("weberror", lambda error: faults.append(str(error.error)))
    page = await _open(context, demo.status["url"])
    before = int((await page.evaluate(_SHOWN))["sales"])
    await demo_pg.execute(_SELL, 30)
    async with asyncio.timeout(10):  # the page's policy allows no eval, which wait_for_function would need
        while int((await page.evaluate(_SHOWN))["sales"]) < before + 30:
            await asyncio.sleep(0.02)
    await _equals_database(demo_pg, page)
    await page.wait_for_selector("[data-testid=flash]")  # the plain socket: a sale's own row
    assert await page.evaluate("statuses") in (["reconnecting", "live"], ["live"])
    assert await page.evaluate("shift") < 0.05
    assert faults == []


async def test_many_sellers_at_once_leave_no_half_truth(demo: Stack, demo_pg: Any, context: BrowserContext) -> None:
    """The summary is never of a moment at which one of two sellers was not done, and stays so."""
    page = await _open(context, demo.status["url"])
    sellers = [await demo.pg() for _ in range(4)]
    for _ in range(3):
        await asyncio.gather(*(seller.execute(_SELL, number) for number, seller in enumerate(sellers, 1)))
        await _equals_database(demo_pg, page)
    for seller in sellers:
        await seller.close()


async def test_a_stock_that_falls_shows_as_an_alert(demo: Stack, demo_pg: Any, context: BrowserContext) -> None:
    page = await _open(context, demo.status["url"])
    product = await demo_pg.fetchval("SELECT nombre FROM productos WHERE id = 3")
    alert = page.locator("[data-testid=low-stock] li", has_text=product).filter(has_text="Deusto")
    await demo_pg.execute("UPDATE stock SET cantidad = 0 WHERE producto_id = 3 AND tienda_id = 5")
    await alert.and_(page.locator("[data-severity=out]")).wait_for(timeout=5_000)
    assert "Agotado" in await alert.inner_text()
    await demo_pg.execute("UPDATE stock SET cantidad = 500 WHERE producto_id = 3 AND tienda_id = 5")
    await alert.wait_for(state="detached", timeout=5_000)


async def test_it_says_so_when_its_node_is_killed_and_is_exact_when_it_is_back(
    demo: Stack, demo_pg: Any, context: BrowserContext
) -> None:
    node = demo.status["nodes"][0]
    page = await _open(context, node["url"])
    await page.evaluate("statuses.length = 0")
    os.kill(node["pid"], signal.SIGKILL)
    await page.wait_for_selector("[data-status=reconnecting]", timeout=5_000)
    assert "No se puede llegar al servidor" in await page.inner_text("[data-testid=notice]")
    await demo_pg.execute(_SELL, 5)  # missed live, caught up by position
    await _live(page)
    await _equals_database(demo_pg, page)
    assert await page.evaluate("statuses") in (["reconnecting", "live"], ["live", "reconnecting", "live"])
    await asyncio.to_thread(demo.wait, "ready")
    assert demo.status["nodes"][0]["pid"] != node["pid"]
    assert demo.status["nodes"][0]["url"] == node["url"]


async def test_the_shared_address_survives_the_loss_of_a_node(
    demo: Stack, demo_pg: Any, context: BrowserContext
) -> None:
    pages = [await _open(context, demo.status["url"]) for _ in range(4)]
    node = demo.status["nodes"][1]
    os.kill(node["pid"], signal.SIGKILL)
    await demo_pg.execute(_SELL, 5)
    await asyncio.gather(*(_live(page) for page in pages))
    await _equals_database(demo_pg, *pages)
    await asyncio.to_thread(demo.wait, "ready")


async def test_offline_is_said_at_once_and_nothing_is_missing_afterwards(
    demo: Stack, demo_pg: Any, context: BrowserContext
) -> None:
    page = await _open(context, demo.status["url"])
    await context.set_offline(True)
    await page.wait_for_selector("[data-status=offline]", timeout=1_000)
    assert "no tiene conexión a internet" in await page.inner_text("[data-testid=notice]")
    await page.evaluate("statuses.length = 0")
    await demo_pg.execute(_SELL, 5)
    await page.wait_for_timeout(6_000)  # beyond the doubt's deadline: the stalled socket is given up
    assert "live" not in await page.evaluate("statuses")
    await context.set_offline(False)
    await _live(page)
    await _equals_database(demo_pg, page)


async def test_an_unreachable_server_becomes_offline(demo: Stack, context: BrowserContext) -> None:
    page = await context.new_page()
    await page.route_web_socket("**/ws**", lambda socket: socket.close(code=1013))
    await page.goto(demo.status["url"])
    await page.wait_for_selector("[data-status=reconnecting]")
    await page.wait_for_selector("[data-status=offline]", timeout=20_000)


@pytest.mark.parametrize(
    "viewport", [{"width": 360, "height": 740}, {"width": 820, "height": 1180}, {"width": 1920, "height": 1080}]
)
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_fits_every_screen_and_can_be_read(demo: Stack, browser: Browser, viewport: Any, scheme: Any) -> None:
    context = await browser.new_context(locale="es-ES", viewport=viewport, color_scheme=scheme)
    page = await _open(context, demo.status["url"])
    assert not await page.evaluate("document.documentElement.scrollWidth > innerWidth")
    for landmark in ("header", "main", "footer", "h1", "main table"):
        assert await page.locator(landmark).count() == 1, landmark
    assert await page.get_by_role("status").get_attribute("aria-live") == "polite"
    assert await page.get_by_role("region", name="Stock bajo").count() == 1
    ratios = await page.evaluate(_CONTRAST)
    assert ratios, "no text found"
    assert {text: ratio for text, ratio in ratios.items() if ratio < 4.5} == {}
    await context.close()


# The contrast of each text with the nearest painted background above it (a gradient: its first colour).
_CONTRAST = """() => {
  const channels = (colour) => (colour.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const over = ([r, g, b, a = 1], under) => [r, g, b].map((c, i) => c * a + under[i] * (1 - a));
  const background = (element) => {
    if (!element) return [255, 255, 255];
    const style = getComputedStyle(element);
    const gradient = [...style.backgroundImage.matchAll(/rgba?\\([^)]*\\)/g)].map(([colour]) => channels(colour));
    const opaque = gradient.find((colour) => colour.length === 3);
    if (opaque) return opaque;
    return over(channels(style.backgroundColor), background(element.parentElement));
  };
  const ratios = {};
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    const element = walker.currentNode.parentElement;
    if (!text || !element.checkVisibility() || ["SCRIPT", "NOSCRIPT", "STYLE"].includes(element.tagName)) continue;
    if (element.closest("[class*=waiting]")) continue;
    const under = background(element);
    const [a, b] = [light(over(channels(getComputedStyle(element).color), under)), light(under)];
    ratios[text] = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }
  return ratios;
}"""
