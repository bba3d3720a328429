"""Random writers of watched tables: their tables, their statements, and sessions that may wait for each other.

What a statement does is left to Postgres; what it refuses is no event. The one thing looked for is that no statement
ever fails because of a capture.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import asyncpg

TABLES = """
create table tiendas (id int primary key, nombre text);
create table ventas (tienda int references tiendas on update cascade on delete cascade, n int, total numeric,
                     otra int references tiendas on update cascade on delete no action deferrable, nota jsonb,
                     primary key (n, tienda));
create table envios (id int primary key, de int references tiendas on update cascade on delete cascade,
                     a int references tiendas on update cascade on delete set null, peso float8);
create table resumen (tienda int primary key, ventas int not null default 0, total numeric);
create table "Sin Clave" (x int, "y ""z"" ñ" text);
create table privada (id int primary key, dueno text default current_user, t timestamptz, b bytea);
create table cambiante (id int primary key, fijo text, c1 text, c2 text);
create table eco (id int primary key, v int);
create table movimientos (id int, zona int, v text, primary key (id, zona)) partition by list (zona);
create table mov_0 partition of movimientos for values in (0);
create table mov_1 (v text, sobra int, zona int not null, id int not null);
alter table mov_1 drop sobra;
alter table movimientos attach partition mov_1 for values in (1);
create table mov_23 partition of movimientos for values in (2, 3) partition by range (id);
create table mov_23a partition of mov_23 for values from (minvalue) to (4);
create table mov_23b partition of mov_23 for values from (4) to (maxvalue);
create table personas (id int primary key, nombre text);
create table empleados (sueldo numeric, primary key (id)) inherits (personas);
create table turnos (id int primary key deferrable initially deferred, v int);
create table puestos (id int primary key deferrable, v int, doble int generated always as (v * 2) stored);

alter table privada enable row level security;
create policy propias on privada using (dueno = current_user);

create function resumir() returns trigger language plpgsql as $$
begin
    if tg_op <> 'INSERT' then
        update public.resumen set ventas = ventas - 1, total = coalesce(total, 0) - coalesce(old.total, 0)
        where tienda = old.tienda;
    end if;
    if tg_op <> 'DELETE' then
        insert into public.resumen as r values (new.tienda, 1, new.total)
        on conflict (tienda) do update set ventas = r.ventas + 1, total = coalesce(r.total, 0) + coalesce(new.total, 0);
    end if;
    return null;
end $$;
create trigger resumir after insert or update or delete on ventas for each row execute function resumir();

-- Writes its own table: before and after, the row itself and others.
create function repetir() returns trigger language plpgsql as $$
begin
    if tg_when = 'BEFORE' then
        new.v := coalesce(new.v, 0) + 1;
        return new;
    end if;
    case coalesce(new.v, 0) % 5
        when 1 then update public.eco set v = v + 10 where id = new.id;
        when 2 then delete from public.eco where id = new.id;
        when 3 then insert into public.eco values (new.id + 100, 5) on conflict do nothing;
        when 4 then update public.eco set id = id + 1000 where id = new.id;
        else null;
    end case;
    return null;
end $$;
create trigger aa before insert or update on eco for each row when (pg_trigger_depth() = 0) execute function repetir();
create trigger ab after insert or update on eco for each row when (pg_trigger_depth() = 0) execute function repetir();

grant select, insert, update, delete, truncate on all tables in schema public to writer;
"""
# Statements whose own triggers or cascades write the table again: only where the events end is promised.
# So it is where two rows may have one key for a while.
SETTLED = ("public.envios", "public.eco", "public.turnos", "public.puestos")
# Channel by channel, and how: a watch with `always` captures by row triggers, in the same order.
WATCHED: dict[str, tuple[str, ...]] = {
    "tiendas": ("public.tiendas",),
    "ventas": ("public.ventas", "public.envios", "public.resumen"),
    "ventas-filas": ("public.ventas", "public.envios", "public.resumen", 'public."Sin Clave"'),
    "sinclave": ('public."Sin Clave"',),
    "privada": ("public.privada",),
    "cambiante": ("public.cambiante",),
    "eco": ("public.eco",),
    "eco-filas": ("public.eco",),
    "movimientos": ("public.movimientos",),
    "dos-y-tres": ("public.mov_23",),
    "personas": ("public.personas", "public.empleados"),
    "aplazables": ("public.turnos", "public.puestos"),
}
WATCH = "select notifiws.watch($1::text::regclass, $2, always => $2 like '%-filas')"
# A table that others inherit from is its own rows.
READ_FROM = {"public.personas": "only public.personas"}

# {a} and {b} are small numbers, {s} is a shop's.
STATEMENTS = [
    "insert into public.tiendas values ({s}, 'T{a}')",
    "insert into public.tiendas select x from generate_series({s}, {s} + 2) x on conflict do nothing",
    "update public.tiendas set nombre = nombre || {a} where id >= {s}",
    "update public.tiendas set id = id + {b} where id = {s}",
    "update public.tiendas set id = id + 1",
    "delete from public.tiendas where id = {s}",
    "insert into public.ventas select {s}, x, x, {s} from generate_series({a}, {a} + {b}) x",
    "insert into public.ventas select {s}, x, 1.50, null from generate_series({a}, {a} + {b}) x"
    " on conflict (n, tienda) do update set total = ventas.total + 1.50",
    "insert into public.ventas (tienda, n, otra) values ({s}, {a}, {b})",
    "update public.ventas set total = coalesce(total, 0) * 1.10 where n >= {a}",
    "update public.ventas set n = n + {b} where n > {a}",
    "update public.ventas set n = n - 1",
    "update public.ventas set n = case n when {a} then {b} when {b} then {a} else -n end",
    "update public.ventas set nota = jsonb_build_object('n', n, 'x', {a}), otra = tienda where tienda = {s}",
    "update public.ventas set total = null where false",
    "delete from public.ventas where n < {a}",
    "with gone as (delete from public.ventas where n >= {a} returning *), kept as (insert into public.\"Sin Clave\""
    " select n, tienda::text from gone) insert into public.ventas select tienda, -n, 0 from gone",
    "merge into public.ventas v using (select x from generate_series({a}, {a} + {b}) x) s"
    " on v.n = s.x and v.tienda = {s} when matched and v.total > 5 then delete"
    " when matched then update set total = 7, n = v.n + 40"
    " when not matched then insert (tienda, n) values ({s}, s.x)",
    "truncate public.ventas",
    "truncate public.tiendas cascade",
    "insert into public.envios select x, {s}, {b}, 'NaN' from generate_series({a}, {a} + 2) x",
    "insert into public.envios values ({a}, {s}, {s}, 0.1::float8 + 0.2)",
    "update public.envios set a = de, de = a where id > {a}",
    "insert into public.\"Sin Clave\" select {a}, repeat('y', {b}) from generate_series(1, {b})",
    "update public.\"Sin Clave\" set x = x + 1 where x >= {a}",
    "delete from public.\"Sin Clave\" where x = {a}",
    "truncate public.\"Sin Clave\", public.privada",
    "insert into public.privada values ({a}, default, now(), '\\x00ff') on conflict (id) do update set t = now()",
    "update public.privada set b = b || '\\x01', dueno = case when id = {a} then 'nadie' else dueno end",
    "delete from public.privada where id <> {a}",
    "update public.resumen set total = total where tienda = {s}",
    "delete from public.resumen where ventas <= {a}",
    "insert into public.cambiante (id) select x from generate_series({a}, {a} + {b}) x on conflict do nothing",
    "update public.cambiante set fijo = {b}, id = id + case when id > {a} then {b} else 0 end",
    "update public.cambiante set c1 = 'u{b}' where id >= {a}",
    "update public.cambiante set c2 = 'u{b}' where id >= {a}",
    "delete from public.cambiante where id = {a}",
    "insert into public.eco select x, {b} from generate_series({a}, {a} + 3) x",
    "insert into public.eco values ({a}, {b}), ({b}, {a}) on conflict (id) do update set v = excluded.v",
    "update public.eco set v = v + {b} where id >= {a}",
    "update public.eco set id = id - 1 where id > {a}",
    "delete from public.eco where id % 3 = {a} % 3",
    "insert into public.movimientos select x, {s}, 'm{b}' from generate_series({a}, {a} + 2) x on conflict do nothing",
    "insert into public.mov_0 values ({a}, 0, 'd{b}') on conflict (id, zona) do update set v = excluded.v",
    "insert into public.mov_1 (id, zona, v) values ({a}, 1, 'd{b}'), ({b}, 1, null)",
    "update public.movimientos set zona = (zona + 1) % 4 where id >= {a}",
    "update public.movimientos set id = id + {b} where zona = {s}",
    "update public.mov_1 set v = v || '{a}'",
    "update public.mov_23 set id = id + {b}",
    "merge into public.movimientos m using (values ({a}, {s}), ({b}, {s})) v (id, zona)"
    " on m.id = v.id and m.zona = v.zona when matched then delete"
    " when not matched then insert values (v.id, v.zona, 'x')",
    "delete from public.movimientos where id = {a}",
    "delete from public.mov_23b where id > {a}",
    "truncate public.movimientos",
    "truncate public.mov_1",
    "insert into public.personas values ({a}, 'p{b}') on conflict (id) do update set nombre = excluded.nombre",
    "insert into public.empleados values ({a}, 'e{b}', {b}), ({b}, 'f{a}', null)",
    "update public.personas set nombre = nombre || {b} where id >= {a}",
    "update only public.personas set id = -id",
    "update public.empleados set id = id + 10, sueldo = {b} where id < {a}",
    "delete from public.personas where id = {a}",
    "truncate only public.personas",
    "truncate public.personas",
    "insert into public.turnos values ({a}, {b}), ({b}, {a})",
    "update public.turnos set id = {b} where id = {a}",
    "update public.turnos set id = case when v >= {b} then id + 1 else id end",
    "update public.turnos set v = {b} where id = {a}",
    "update public.turnos set id = {a}, v = {s} where v = {b}",
    "delete from public.turnos where v = {b}",
    "insert into public.puestos values ({a}, {b})",
    "update public.puestos set id = id + 1",
    "update public.puestos set id = case id when {a} then {b} when {b} then {a} else id end, v = v + 1",
    "delete from public.puestos where id = {a}",
    "do $$ begin begin insert into public.tiendas values ({s}); update public.ventas set total = 9 where tienda = {s};"
    " raise exception 'undone'; exception when raise_exception then null; end;"
    " insert into public.\"Sin Clave\" values ({a}, 'after'); end $$",
    "set constraints all deferred",
    "set constraints all immediate",
    "copy public.ventas",
    "copy public.\"Sin Clave\"",
]  # fmt: skip

# DDL, and the mark that says in the log's own order what it did: what follows is written in the new shape.
DDL = {
    "add": ("alter table public.cambiante add {c} text default 'd'", {"add": {"{c}": '"d"'}}),
    "add volatile": ("alter table public.cambiante add {c} text default lower('D' || random()::int * 0)",
                     {"add": {"{c}": '"d0"'}}),
    "drop": ("alter table public.cambiante drop {c}", {"drop": ["{c}"]}),
    "rename": ("alter table public.cambiante rename {c} to {d}", {"rename": {"{c}": "{d}"}}),
    "swap": ("alter table public.cambiante rename fijo to x; alter table public.cambiante rename {c} to fijo;"
             " alter table public.cambiante rename x to {c}", {"rename": {"{c}": "fijo", "fijo": "{c}"}}),
    "type": ("alter table public.cambiante alter {c} type varchar(40)", {}),
}  # fmt: skip

# What Postgres may refuse a writer. Anything else is ours.
REFUSALS = (
    asyncpg.IntegrityConstraintViolationError, asyncpg.CardinalityViolationError,
    asyncpg.TriggeredDataChangeViolationError, asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError, asyncpg.UndefinedColumnError, asyncpg.DuplicateColumnError,
    asyncpg.InsufficientPrivilegeError, asyncpg.InFailedSQLTransactionError, asyncpg.ObjectInUseError,
)  # fmt: skip


@dataclass
class Session:
    """A writer's connection, with the statement that it waits in."""

    pg: "asyncpg.Connection[Any]"
    pid: int
    open: bool = False
    savepoints: list[str] = field(default_factory=list)
    waiting: "asyncio.Task[None] | None" = None
    number: int = 0


class Writers:
    """Sessions that write at the same time, one statement a step. One that waits for a lock is left waiting."""

    def __init__(
        self, sessions: list[Session], observer: "asyncpg.Connection[Any]", note: Callable[[str], None]
    ) -> None:
        self.sessions = sessions
        self.observer = observer
        self.note = note

    async def step(self, session: Session, sql: str, *, guarded: bool = False) -> None:
        """Run a statement, or leave it waiting. Refused: back to the guard's savepoint, or the transaction is over."""
        assert session.waiting is None
        self.note(f"{self.sessions.index(session)}: {sql}" + (" (guarded)" if guarded and session.open else ""))
        session.waiting = asyncio.create_task(self._statement(session, sql, guarded=guarded and session.open))
        await self.settle()

    async def _statement(self, session: Session, sql: str, *, guarded: bool) -> None:
        pg = session.pg
        try:
            if guarded:
                await pg.execute("savepoint guard")
            if sql.startswith("copy "):
                await self._copy(session, sql.removeprefix("copy public."))
            else:
                await pg.execute(sql)
            if guarded:
                await pg.execute("release guard")
        except REFUSALS as error:
            self.note(f"{self.sessions.index(session)}: refused: {error}")
            assert "notifiws" not in f"{error} {error.as_dict().get('context', '')}", error.as_dict()
            if guarded:
                await pg.execute("rollback to guard")
            else:
                await pg.execute("rollback")
                session.open = False
                session.savepoints.clear()

    @staticmethod
    async def _copy(session: Session, table: str) -> None:
        session.number += 1
        if table == "ventas":
            records: list[tuple[Any, ...]] = [(n % 4, 100 + session.number * 3 + n, n) for n in range(3)]
            await session.pg.copy_records_to_table(
                "ventas", schema_name="public", records=records, columns=["tienda", "n", "total"]
            )
        else:
            records = [(session.number, "copied")] * 3
            await session.pg.copy_records_to_table("Sin Clave", schema_name="public", records=records)

    async def settle(self) -> None:
        """Until each session's statement is over or waits for a lock."""
        while True:
            for session in self.sessions:
                if session.waiting is not None and session.waiting.done():
                    session.waiting.result()
                    session.waiting = None
            running = [session for session in self.sessions if session.waiting is not None]
            if not running:
                return
            await asyncio.wait([s.waiting for s in running if s.waiting is not None], timeout=0.002)
            waits = await self.observer.fetch(
                "select pid from pg_stat_activity where wait_event_type = 'Lock' and pid = any($1)",
                [s.pid for s in running],
            )
            still = {row["pid"] for row in waits}
            if all(s.waiting is not None and not s.waiting.done() and s.pid in still for s in running):
                return

    async def finish(self) -> None:
        """Commit what is open, one after the other, until nobody waits. A deadlock is Postgres' to end."""
        async with asyncio.timeout(20):
            while True:
                await self.settle()
                for session in self.sessions:
                    if session.waiting is None and session.open:
                        await self.end(session, "commit")
                waiting = [session.waiting for session in self.sessions if session.waiting is not None]
                if not waiting:
                    return
                await asyncio.wait(waiting, timeout=0.05, return_when=asyncio.FIRST_COMPLETED)

    async def end(self, session: Session, how: str) -> None:
        """Commit or roll back."""
        session.open = False
        session.savepoints.clear()
        await self.step(session, how)
