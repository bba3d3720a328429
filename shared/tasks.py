"""Ending tasks for certain.

`asyncio.wait_for` of Python 3.11, which the Redis driver wraps around each send, swallows a cancellation that comes in
the turn in which the send is done. So one `cancel()` proves nothing, and a TaskGroup, which cancels its children once,
can wait for ever.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

_AGAIN_SECONDS: Final = 0.25


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel until all are done, even when cancelled meanwhile. How they end is nobody's concern any more."""
    cancelled = False
    left = [task for task in tasks if not task.done()]
    while left:
        for task in left:
            task.cancel()
        try:
            await asyncio.wait(left, timeout=_AGAIN_SECONDS)
        except asyncio.CancelledError:
            cancelled = True
        left = [task for task in left if not task.done()]
    for task in tasks:
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not report it
    if cancelled:
        raise asyncio.CancelledError


async def until_one_ends(*jobs: Coroutine[Any, Any, None]) -> None:
    """Run all until the first ends, end the others, and raise what the first one raised."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end(*tasks)
    for task in done:
        task.result()
