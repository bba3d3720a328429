"""Each way in which Redis does not take it becomes RedisAway, with what mends it and without a secret."""

import pytest
from redis import exceptions

from listener_service.ports import Mark, RedisAway
from listener_service.publisher import RedisPublisher, _away
from shared.keys import Keys


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (exceptions.ConnectionError("Connection refused."), "start it"),
        (OSError("no route"), "start it"),
        (exceptions.TimeoutError("Timeout reading"), "frozen"),
        (exceptions.AuthenticationError("invalid username-password pair"), "mend REDIS_URL"),
        (exceptions.ResponseError("NOAUTH Authentication required."), "password"),
        (exceptions.ReadOnlyError("You can't write against a read only replica."), "primary"),
        (exceptions.BusyLoadingError("Redis is loading the dataset in memory"), "by itself"),
        (exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), "maxmemory"),
        (exceptions.NoPermissionError("this user has no permissions to run"), "ACL"),
        (exceptions.ResponseError("MISCONF Errors writing to the AOF file"), "disk"),
        (exceptions.ResponseError("BUSY Redis is busy running a script."), "SCRIPT KILL"),
        (exceptions.ResponseError("something new"), "something new"),
    ],
)
def test_the_mend_fits(error: Exception, word: str) -> None:
    assert word in str(_away(error))


@pytest.mark.parametrize(
    "url", ["redis://:geheim@127.0.0.1:1/0", "rediss://:geheim@127.0.0.1:1/0", "unix:///nowhere.sock"]
)
async def test_nobody_there(url: str) -> None:
    publisher = RedisPublisher(url, Keys("t"), max_age=1, max_bytes=1)
    for attempt in (publisher.begin(), publisher.marked(), publisher.mark(Mark(1)), publisher.beat({})):
        with pytest.raises(RedisAway) as refused:
            await attempt
        assert "geheim" not in str(refused.value)
    await publisher.close()
