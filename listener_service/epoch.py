"""Which unbroken history the log is. Settled before the first tick of every leadership."""

from listener_service.log import PostgresLog
from listener_service.ports import LeadershipLost
from shared.logs import logger

log = logger("epoch")


async def settle(log_adapter: PostgresLog) -> str:
    """The epoch to publish under. Raises LeadershipLost where nobody can lead.

    The database's own evidence of a restored or foreign log starts a new one.
    """
    meta = await log_adapter.meta()
    if meta.in_recovery:
        raise LeadershipLost("Postgres is a standby server; point DATABASE_URL at the primary, or promote it")
    return meta.epoch if meta.broken is None else await _begin(log_adapter, meta.broken)


async def overtaken(log_adapter: PostgresLog, reason: str) -> None:
    """Redis is ahead of the log. Raises LeadershipLost where that is another leader's doing.

    While the session answers, the lock was ours all the time and nobody else published: so the log is an earlier one
    (restored to a point in time, a lagging standby promoted), and a new epoch begins.
    """
    await log_adapter.confirm()
    await _begin(log_adapter, f"Redis is ahead of the log: {reason}")


async def _begin(log_adapter: PostgresLog, reason: str) -> str:
    epoch = await log_adapter.start_epoch()
    log.warning("a new epoch begins: clients are told to fetch afresh", reason=reason, epoch=epoch)
    return epoch
