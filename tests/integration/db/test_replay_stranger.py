"""A stranger's schema, watched whole: a Django project's migrations, every table, used through its ORM by two at once.

It knows nothing of notifiws, and its role has no grant on it; migrations come later, too, with everything watched.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.db.log import Log
from tests.integration.db.replay import READ_AS_CAPTURED, Replay

PROJECT = Path(__file__).parent / "stranger"
EVERY_TABLE = """
select c.oid::regclass::text as name, notifiws.watch(c.oid, replace(c.relname, '_', '-')) as watch,
       quote_ident(s.nspname) || '.' || quote_ident(c.relname) as source
from pg_class c join pg_namespace s on s.oid = c.relnamespace
where c.relkind in ('r', 'p') and not c.relispartition and s.nspname = 'public'
"""


class Project:
    """The project's commands, run as its own role."""

    def __init__(self, log: Log) -> None:
        server = log.database.server
        url = f"postgresql://writer:writer@127.0.0.1:{server.port}/{log.database.name}"
        self.env = os.environ | {
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "settings",
            "PYTHONPATH": str(PROJECT),
            "PYTHONWARNINGS": "ignore",
        }

    async def run(self, *args: str) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *args, env=self.env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, output.decode()

    async def migrate(self, *apps: str) -> None:
        """Each app, or `app.number`, in order."""
        await self.run(str(PROJECT / "apply.py"), *apps)

    async def drive(self, seed: int, steps: int) -> None:
        await self.run(str(PROJECT / "drive.py"), str(seed), str(steps))


@pytest.fixture
async def project(log: Log) -> Project:
    await log.pg.execute("grant create on schema public to writer")
    superuser = await log.database.connect(superuser=True)
    owner = await log.pg.fetchval("select current_user")
    await superuser.execute(
        f"alter default privileges for role writer in schema public grant select, trigger on tables to {owner}"
    )
    return Project(log)


async def test_a_django_project_watched_whole(log: Log, project: Project) -> None:
    await project.migrate("admin", "sessions", "sites", "shop.0001")
    await log.pg.execute(READ_AS_CAPTURED)
    sources = [row["source"] for row in await log.pg.fetch(EVERY_TABLE)]
    assert len(sources) > 20
    replay = Replay(*sources)

    # Everything from empty: Django itself fills in again what its migrations had left.
    superuser = await log.database.connect(superuser=True)
    await superuser.execute(f"""
        create temp table applied as table django_migrations;
        truncate {", ".join(sources)}; insert into django_migrations table applied""")
    await project.migrate("shop.0001")
    async with asyncio.TaskGroup() as shoppers:
        tasks = [shoppers.create_task(project.drive(seed, 60)) for seed in (1, 2)]
        while not all(task.done() for task in tasks):
            replay.apply(await log.cut())
            await asyncio.wait(tasks, timeout=0.03)
    replay.apply(await log.cut())
    await replay.check(log.pg)
    assert replay.events.total() > 1000
    assert set(replay.events) == set(sources)

    # Later migrations, with their table and columns under other names.
    await project.migrate("shop.0002")
    shapes: dict[str, dict[str, Any]] = {
        "public.shop_order": {"rename": {"lasts": "duration"}, "add": {"paid": "false"}},
        "public.shop_customer": {"drop": ["address"]},
        "public.shop_product_tags": {"rename": {"tag_id": "label_id"}},
    }
    for name, shape in shapes.items():
        replay.replicas[name].reshape(**shape)
    replay.replicas["public.shop_label"] = replay.replicas.pop("public.shop_tag")
    replay.apply(await log.cut())
    await replay.check(log.pg)
    watches = await log.query("watches")
    assert len(watches) == len(sources)
    assert all(watch["in_force"] for watch in watches)
    assert await log.pg.fetch("select * from notifiws.incident") == []
