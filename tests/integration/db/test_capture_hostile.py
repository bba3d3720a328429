"""What a writer's session sets changes no condition and ends no writer; what fails says no value of a row."""

from tests.integration.db.log import Log

_MATCHES = r"new.code ~ '^\d+$'"


async def test_a_backslash_in_a_condition_reads_the_same_whatever_the_writer_has_set(log: Log) -> None:
    await log.pg.execute("create table t (id int primary key, code text)")
    await log.pg.execute("select notifiws.watch('t', 'digits', condition => $1)", _MATCHES)
    await log.pg.execute(r"select notifiws.watch('t', 'odd', condition => $$new.code <> 'a\'$$)")
    await log.pg.execute("create table p (id int primary key, code text) partition by hash (id)")
    await log.pg.execute("create table p0 partition of p for values with (modulus 1, remainder 0)")
    await log.pg.execute("select notifiws.watch('p', 'parts', condition => $1)", _MATCHES)
    writer = await log.session()
    await writer.execute("set standard_conforming_strings = off; set escape_string_warning = off")
    for table in ("t", "p"):
        await writer.execute(f"insert into {table} values (1, '123'), (2, 'ddd')")
    assert await log.pg.fetch("select channel, new::json ->> 'code' from notifiws.outbox order by id") == [
        ("digits", "123"),
        ("odd", "123"),
        ("odd", "ddd"),
        ("parts", "123"),
    ]
    # The slow way of a changed table, and a condition that is declared by such a session.
    await log.pg.execute("alter table t add column more int")
    await writer.execute("insert into t values (3, '4'), (4, 'd')")
    await writer.execute("select notifiws.watch('t', 'digits', condition => $1)", _MATCHES)
    await writer.execute("insert into t values (5, '6'), (6, 'd')")
    assert [
        row["code"]
        for row in await log.pg.fetch(
            "select new::json ->> 'code' as code from notifiws.outbox where channel = 'digits' order by id"
        )
    ] == ["123", "4", "6"]
    assert await log.pg.fetch("select problem from notifiws.watches where channel = 'digits'") == [(None,)]


async def test_a_virtual_column_with_a_backslash_is_computed_the_same(log: Log) -> None:
    if log.pg.get_server_version().major < 18:
        return
    await log.pg.execute(
        r"create table v (id int primary key, code text, path text generated always as (code || '\') virtual)"
    )
    await log.pg.execute("select notifiws.watch('v', 'v')")
    writer = await log.session()
    await writer.execute("set standard_conforming_strings = off; set escape_string_warning = off")
    await writer.execute("insert into v values (1, 'a')")
    assert await log.pg.fetchval("select new::json ->> 'path' from notifiws.outbox") == "a\\"
    assert await log.pg.fetchval("select problem from notifiws.watches") is None


async def test_what_fails_says_no_value_of_a_row(log: Log) -> None:
    await log.pg.execute("create table t (id int primary key, code text)")
    await log.pg.execute(
        "create function picky(text) returns boolean language plpgsql as $$ begin "
        "if $1 like '%secret%' then raise exception 'not %', $1; end if; return true; end $$"
    )
    await log.pg.execute("select notifiws.watch('t', 'number', condition => 'new.code::int > 0')")
    await log.pg.execute("select notifiws.watch('t', 'picky', condition => 'public.picky(new.code)')")
    said: list[str] = []
    log.pg.add_log_listener(lambda _, message: said.append(str(message)))
    await log.pg.execute("insert into t values (1, E'secret \"4111\"\nof a row')")
    problems = dict(await log.pg.fetch("select channel, problem from notifiws.watches"))
    assert 'invalid input syntax for type integer: "…"' in problems["number"]
    assert "a function raised an exception (P0001)" in problems["picky"]
    assert said and not any(word in text for text in (*said, *problems.values()) for word in ("secret", "4111", "of a"))
