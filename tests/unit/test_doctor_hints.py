"""What doctor makes of a trigger's source and of a NOTIFY channel's name."""

import csv
import re
import shlex
from pathlib import Path

import pytest

from notifiws.doctor.adapters import redis
from notifiws.doctor.adapters.postgres import where
from notifiws.doctor.adapters.secrets import scrub
from notifiws.doctor.checks.watches import channel_for, notified, watch_command
from shared.channel import is_channel


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("BEGIN PERFORM pg_notify('sales_channel', row_to_json(NEW)::text); RETURN NEW; END", ["sales_channel"]),
        ("begin perform pg_catalog.pg_notify ( 'a''b' , '' ); perform pg_notify('a''b', ''); end", ["a'b"]),
        ("begin\n  notify low_stock;\n  NOTIFY \"Ventas Ñ\", 'x'; end", ["low_stock", "Ventas Ñ"]),
        ("begin if new.stock < 3 then notify low; end if; end", ["low"]),
        ("begin perform pg_notify(tg_argv[0], ''); perform pg_notify('x_' || tg_table_name, ''); end", []),
        ("begin -- pg_notify('old', '')\n /* notify older; */ return new; end", []),
        ("begin perform my_pg_notify('no', ''); raise notice 'notify everybody;'; end", []),
    ],
)
def test_notified(source: str, names: list[str]) -> None:
    assert notified(source) == names


@pytest.mark.parametrize(
    ("name", "channel"),
    [
        ("sales_channel", "sales"),
        ("Ventas Ñ", "ventas"),
        ("stock", "stock"),
        ("tabla_changes_notify", "tabla_changes"),
        ("_channel", "channel"),
        ("Ñ", "events"),
    ],
)
def test_channel_for(name: str, channel: str) -> None:
    assert channel_for(name) == channel
    assert is_channel(channel)


def test_a_comma_in_a_columns_name_does_not_make_two() -> None:
    columns = ["a,b", '"c"', "d"]
    words = shlex.split(watch_command({"table": "public.t", "channel": "sales", "columns": columns}))
    assert next(csv.reader([words[words.index("--columns") + 1]])) == columns


def test_watch_command_is_quoted_for_the_shell() -> None:
    row = {
        "table": '"Tienda Ñ"."Ventas ""x"""', "channel": "sales", "events": ["insert", "update"],
        "columns": ["a b", "c"], "condition": "new.x > 'y'", "snapshot": False,
    }  # fmt: skip
    assert watch_command(row) == (
        'notifiws watch \'"Tienda Ñ"."Ventas ""x"""\' --channel sales --events insert,update --columns \'a b,c\' '
        "--when 'new.x > '\"'\"'y'\"'\"'' --no-snapshot"
    )


def test_every_command_of_our_scripts_is_asked_for() -> None:
    asked = {command.partition("|")[0] for command in redis._COMMANDS}
    for script in (Path(__file__).parents[2] / "listener_service").glob("*.lua"):
        assert set(re.findall(r"redis\.call\('([A-Z]+)'", script.read_text(encoding="utf-8"))) <= asked, script.name


def test_scrub() -> None:
    url = "postgresql://me:s%40cr3t@h:5432/d?sslpassword=geheim"
    said = scrub(f"cannot use {url}: s@cr3t, s%40cr3t, geheim", url)
    assert said == "cannot use ***: ***, ***, ***"
    assert where(url) == "h:5432/d"
