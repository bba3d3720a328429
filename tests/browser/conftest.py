"""A real Chromium, and real stacks for it to look at. Without node or Chromium these tests are skipped, loudly."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest
from playwright.async_api import Browser, async_playwright

from notifiws.stack import dashboard
from tests.stack import Stack
from tests.system import require_tool

_FLAGS = (
    "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's path."""
    return require_tool("chromium", "chromium-browser", "google-chrome")


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """A browser of its own for each test: it starts in half a second, and nothing leaks between tests."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, chromium_sandbox=False, args=list(_FLAGS))
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
def dashboard_built() -> None:
    """The dashboard's packages are installed and its export is that of these sources."""
    require_tool("node")
    require_tool("npm")
    subprocess.run([sys.executable, "-P", "-m", "notifiws.stack.dashboard"], check=True, timeout=170)
    assert dashboard.built()


@pytest.fixture(scope="package")
def demo(chromium: str, dashboard_built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """`notifiws up --demo`: two nodes, the inventory and its gentle sales."""
    with Stack(tmp_path_factory.mktemp("demo"), demo=True) as stack:
        yield stack


@pytest.fixture(scope="package")
def bare(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """`notifiws up --no-demo`: two nodes over a database in which nobody has done anything yet."""
    with Stack(tmp_path_factory.mktemp("bare")) as stack:
        yield stack


@pytest.fixture
async def demo_pg(demo: Stack) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """A connection to the demo's database, as its owner."""
    connection = await demo.pg()
    yield connection
    await connection.close()


@pytest.fixture
async def bare_pg(bare: Stack) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """A connection to the bare stack's database, as its owner."""
    connection = await bare.pg()
    yield connection
    await connection.close()
