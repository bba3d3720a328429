"""Has the log's old slots emptied, once a minute, on a connection of its own: emptying may take a while."""

import asyncio
from datetime import timedelta
from typing import Final

from listener_service.metrics import Metrics
from listener_service.session import FAILURES, explain, open_session
from shared.logs import logger

log = logger("retention")

EVERY: Final = 60.0
ROTATE_SECONDS: Final = 120.0


async def rotate(url: str, retention: float, metrics: Metrics) -> None:
    """Keep at least `retention` seconds of the log. Only cancellation ends it."""
    while True:
        try:
            async with open_session(url, "notifiws retention") as session:
                emptied = await session.value("rotate", timedelta(seconds=retention), timeout=ROTATE_SECONDS)
            if emptied:
                metrics.rotations.inc(len(emptied))
                log.info("old slots of the log are emptied", partitions=emptied)
        except FAILURES as error:
            log.warning("old slots of the log are not emptied; tried again in a minute", reason=explain(error))
        await asyncio.sleep(EVERY)
