"""Which unbroken history the log is. Settled before the first tick of every leadership."""

from listener_service.log import PostgresLog
from listener_service.ports import LeadershipLost
from shared.logs import logger

log = logger("epoch")


async def settle(log_adapter: PostgresLog) -> str:
    """The epoch to publish under. Raises LeadershipLost where nobody can lead.

    The database's own evidence of a restored or foreign log starts a new one. That Redis is ahead of the log is not
    looked at here yet.
    """
    meta = await log_adapter.meta()
    if meta.in_recovery:
        raise LeadershipLost("Postgres is a standby server; point DATABASE_URL at the primary")
    if meta.broken is None:
        return meta.epoch
    epoch = await log_adapter.start_epoch()
    log.warning(
        "a new epoch begins: clients are told to fetch afresh", reason=meta.broken, former=meta.epoch, epoch=epoch
    )
    return epoch
