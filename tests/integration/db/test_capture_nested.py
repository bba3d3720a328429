"""Changes inside changes: triggers and cascades that write the very table whose statement is not over yet.

Postgres tells a statement's trigger only after its rows' triggers ran, so the inner change is logged first. The outer
one then looks at what its rows have become, and says it: applied in order, the events always end at the table.
"""

import pytest

from tests.integration.db.log import Log

SELF = {
    "after row, same row": """after insert or update on t for each row when (pg_trigger_depth() = 0)""",
    "before row": """before insert on t for each row when (pg_trigger_depth() = 0)""",
    "after statement, before ours": """after insert or update or delete on t for each statement
        when (pg_trigger_depth() = 0)""",
}
BODIES = {
    "update": "update t set v = v + 100",
    "delete": "delete from t where v % 2 = 1",
    "insert": "insert into t select max(id) + 1, 77 from t",
    "another row": "update t set v = -1 where id = 1",
    "replace": "delete from t where id = 2; insert into t values (2, 88)",
    "move": "update t set id = id + 1000 where id = (select max(id) from t)",
}
STATEMENTS = [
    "insert into t values (1, 1), (2, 2), (3, 3)",
    "update t set v = v + 1",
    "insert into t values (1, 5), (9, 9) on conflict (id) do update set v = excluded.v",
    "update t set id = id + 50 where id < 3",
    "delete from t where id in (3, 9)",
    "insert into t values (5000, 1)",
]


async def replay(log: Log, table: str) -> None:
    """Apply the events as a client does: rows by key, the last word wins; it must end at the table."""
    rows: dict[str, str] = {}
    for row in await log.cut():
        if row["op"] == "truncate":
            rows.clear()
        elif row["new"] is None:
            rows.pop(row["key"], None)
        else:
            rows[row["key"]] = row["new"]
    now = await log.pg.fetch(f"select row_to_json(t)::text from {table} t")
    assert sorted(rows.values()) == sorted(row[0] for row in now)


@pytest.mark.parametrize("where", SELF)
async def test_triggers_that_write_their_own_table(log: Log, where: str) -> None:
    for body in BODIES.values():
        await log.pg.execute(f"""
            create table t (id int primary key, v int); select notifiws.watch('t', 'a');
            create function aa() returns trigger language plpgsql as $$ begin {body}; return new; end $$;
            create trigger aa {SELF[where]} execute function aa()""")
        for statement in STATEMENTS:
            # Postgres itself refuses some of these; what it refuses leaves no event.
            try:
                await log.pg.execute(statement)
            except Exception as error:
                assert "notifiws" not in str(error)
        assert [dict(row)["problem"] for row in await log.query("watches")] == [None]
        await replay(log, "t")
        await log.pg.execute("select notifiws.unwatch('t', 'a'); drop table t; drop function aa()")


async def test_deleted_by_one_foreign_key_and_set_null_by_another(log: Log) -> None:
    for first, second in (("cascade", "set null"), ("set null", "cascade")):
        await log.pg.execute(f"""
            create table p (id int primary key);
            create table c (id int primary key, x int references p on delete {first},
                            y int references p on delete {second});
            select notifiws.watch('c', 'a');
            insert into p values (1), (2), (3), (4);
            insert into c values (1, 1, 2), (2, 2, 1), (3, 3, 4), (4, 4, 3), (5, 3, 3), (6, null, 3), (7, 3, null);
            delete from p where id in (1, 2, 3)""")
        await replay(log, "c")
        await log.pg.execute("select notifiws.unwatch('c', 'a'); drop table c, p")


async def test_rows_that_come_back_after_truncate(log: Log) -> None:
    await log.pg.execute("""
        create table t (id int primary key, v int); select notifiws.watch('t', 'a');
        create function aa() returns trigger language plpgsql
            as $$ begin insert into t values (7, 7); return null; end $$;
        create trigger aa after truncate on t execute function aa();
        insert into t values (1, 1); truncate t""")
    await replay(log, "t")


async def test_an_ordinary_statement_costs_no_second_look(log: Log) -> None:
    await log.pg.execute("""
        create table t (id int primary key, v int); select notifiws.watch('t', 'a');
        create table u (id int primary key); select notifiws.watch('u', 'a');
        create function aa() returns trigger language plpgsql as $$ begin update t set v = v + 1; return null; end $$;
        create trigger aa after insert on u for each row execute function aa();
        begin; insert into t values (1, 1); insert into u values (1), (2); update t set v = 0; commit""")
    events = await log.events()
    assert [e["op"] for e in events] == ["insert", "update", "update", "insert", "insert", "update"]
