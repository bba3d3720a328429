"""doctor's questions are understood by every major: none is refused, and watched tables are seen."""

from tests.conftest import Database
from tests.doctor import doctor


async def test_every_question_is_answered(database: Database) -> None:
    pg = await database.connect()
    await pg.execute("create table t (id int primary key); select notifiws.watch('t', 'ts')")
    examined = await doctor(database.url, reader_url=database.url)
    # On Debian's 15 the owner has no pg_monitor.
    assert set(examined.unchecked) - {"postgres: open transactions of other roles"} == {"redis", "services"}
    assert examined.report.facts.watches is not None
    assert [row["table"] for row in examined.report.facts.watches] == ["public.t"]
    # These servers have two-phase commit on, and are not made to survive a crash.
    off = {"fsync_off", "full_page_writes_off", "synchronous_commit_off"}
    assert examined.codes <= off | {"two_phase", "no_leader", "reader_is_owner", "idle_slot"}
