"""The customer's code, literally: their trigger, their React effect, in a real browser, over two nodes."""

from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, Route

from notifiws.stack import dashboard
from tests.stack import Stack

_HERE = Path(__file__).parent / "customer"
# Where their development server would be: another origin than the nodes'.
_ORIGIN = "http://localhost:3000"
_REACT = {
    "react": "react/cjs/react.development.js",
    "react-dom": "react-dom/cjs/react-dom.development.js",
    "react-dom/client": "react-dom/cjs/react-dom-client.development.js",
    "scheduler": "scheduler/cjs/scheduler.development.js",
}
_ROWS = 40


def _react() -> str:
    """React from the dashboard's packages, each file as a function of its module."""
    packages = dashboard.ROOT / "node_modules"
    return "\n".join(
        f'sources["{name}"] = (module, exports) => {{\n{(packages / path).read_text("utf-8")}\n}};'
        for name, path in _REACT.items()
    )


async def _open(browser: Browser, ws_url: str, faults: list[str]) -> Page:
    page = await browser.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    component = (_HERE / "live-sales.js").read_text("utf-8")
    html = (_HERE / "page.html").read_text("utf-8").replace("/* live-sales.js */", component)

    async def serve(route: Route) -> None:
        is_script = route.request.url.endswith("/react.js")
        await route.fulfill(
            body=_react() if is_script else html, content_type="text/javascript" if is_script else "text/html"
        )

    await page.route(f"{_ORIGIN}/**", serve)
    await page.goto(f"{_ORIGIN}/?ws={ws_url}")
    # StrictMode mounts twice: the first socket is closed by the effect's own clean-up.
    await page.wait_for_function("sockets.length === 2 && sockets[1].readyState === WebSocket.OPEN")
    return page


async def test_their_trigger_and_their_effect_show_each_row_once_on_every_node(
    dashboard_built: None, bare: Stack, bare_pg: Any, browser: Browser
) -> None:
    await bare_pg.execute((_HERE / "database.sql").read_text("utf-8"))
    faults: list[str] = []
    pages = [await _open(browser, bare.ws_url(node), faults) for node in (0, 1)]
    # The contract: an adopted channel is in force for the listener within a second.
    for page in pages:
        await page.wait_for_timeout(1000)
    for number in range(1, _ROWS + 1):
        await bare_pg.execute(
            "INSERT INTO ventas (producto, cantidad, total) VALUES ($1, $2, 19.90)", f'Piñón "{number}" 🥜', number
        )
    for page in pages:
        await page.wait_for_function(f"document.querySelectorAll('li').length >= {_ROWS}")
        shown = await page.eval_on_selector_all("li", "rows => rows.map(row => row.textContent)")
        assert shown == [f'Piñón "{number}" 🥜 × {number}: 19.9 €' for number in range(_ROWS, 0, -1)]
    assert faults == []
