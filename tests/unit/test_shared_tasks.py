"""Ending tasks that swallow a cancellation, as the Redis driver's can."""

import asyncio

import pytest

from shared.tasks import end, until_one_ends


async def stubborn(times: int, ended: asyncio.Event) -> None:
    """Swallows its first cancellations."""
    try:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if times == 0:
                    raise
                times -= 1
    finally:
        ended.set()


async def test_end_insists() -> None:
    ended = asyncio.Event()
    task = asyncio.create_task(stubborn(2, ended))
    await asyncio.sleep(0)
    await asyncio.wait_for(end(task), 5)
    assert task.cancelled() and ended.is_set()
    await end(task)
    await end()


async def test_the_first_end_counts_and_the_others_are_ended() -> None:
    ended = asyncio.Event()

    async def fails() -> None:
        await asyncio.sleep(0)
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await asyncio.wait_for(until_one_ends(stubborn(1, ended), fails()), 5)
    assert ended.is_set()


async def test_cancelled_in_the_moment_of_a_failure() -> None:
    ended = asyncio.Event()

    async def fails_when_told() -> None:
        await told.wait()
        raise OSError("gone")

    told = asyncio.Event()
    outer = asyncio.create_task(until_one_ends(stubborn(1, ended), fails_when_told()))
    await asyncio.sleep(0.01)
    told.set()
    await asyncio.wait_for(end(outer), 5)
    assert outer.done() and ended.is_set()
    assert outer.cancelled() or isinstance(outer.exception(), OSError)
