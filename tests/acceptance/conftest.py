"""One whole stack for all acceptance tests: each test uses tables and channels of its own."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from tests.stack import Stack


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """`notifiws up --no-demo` with two nodes."""
    with Stack(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


@pytest.fixture
async def pg(stack: Stack) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """A connection to its database, as the owner."""
    connection = await stack.pg()
    yield connection
    await connection.close()
