"""The customer's code, literally: their trigger, their React effect, in a real browser, over two nodes."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from notifiws.stack import dashboard
from tests.stack import Stack

_HERE = Path(__file__).parent / "customer"
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


@pytest.fixture
def site(dashboard_built: None) -> Iterator[str]:
    """Their development server: another origin than the nodes'. (A page made up by the test itself would belong to no
    network, and Chromium lets such a page not connect to this machine.)"""
    component = (_HERE / "live-sales.js").read_text("utf-8")
    html = (_HERE / "page.html").read_text("utf-8").replace("/* live-sales.js */", component)
    files = {"/": ("text/html", html), "/react.js": ("text/javascript", _react())}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, body = files.get(self.path.partition("?")[0], ("text/plain", ""))
            self.send_response(200)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()


async def _open(browser: Browser, site: str, ws_url: str, faults: list[str]) -> Page:
    page = await browser.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    await page.goto(f"{site}/?ws={ws_url}")
    # StrictMode mounts twice: the first socket is closed by the effect's own clean-up.
    await page.wait_for_function("sockets.length === 2 && sockets[1].readyState === WebSocket.OPEN")
    return page


async def test_their_trigger_and_their_effect_show_each_row_once_on_every_node(
    site: str, bare: Stack, bare_pg: Any, browser: Browser
) -> None:
    await bare_pg.execute((_HERE / "database.sql").read_text("utf-8"))
    faults: list[str] = []
    pages = [await _open(browser, site, bare.ws_url(node), faults) for node in (0, 1)]
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
