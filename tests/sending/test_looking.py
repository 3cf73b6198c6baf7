"""Whoever only asks a ledger leaves it as it is: its version, its rows and, of a file, its bytes."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import replace

import pandas as pd
import pytest
from sqlalchemy import create_engine, inspect, make_url, text
from typer.testing import CliRunner

from tests.sending.shops import NOON
from tests.sending.test_migration import ROWS, SIXTH, TABLES
from toolkit.cli import app
from toolkit.errors import ApprovalError, InputError, LedgerError
from toolkit.scenario import content_hash
from toolkit.sending import Ledger, approve_standing, erase, parity, reconcile, send, send_test
from toolkit.sending.captures import Captures
from toolkit.sending.ledger.schema import VERSION
from toolkit.sending.sender.key_check import named_elsewhere

FIRST = TABLES + ROWS.replace("attempt (", "attempt (id, ").replace("VALUES (1, 1, 'a'", "VALUES (1, 1, 1, 'a'")
THIRD = """
DROP TABLE coupon; DROP TABLE draw; DROP TABLE hold;
ALTER TABLE delivery DROP COLUMN scenario; ALTER TABLE delivery DROP COLUMN step;
UPDATE meta SET value = '3' WHERE name = 'version';
"""
number = itertools.count()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    """Where a ledger may be: a file, or an empty database of a server."""
    if request.param == "sqlite":
        return str(tmp_path / "ledger.sqlite")
    psycopg = pytest.importorskip("psycopg")
    server, name = request.getfixturevalue("postgres_server"), f"looked{next(number)}"
    with psycopg.connect(f"{server.server_url}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{server.server_url}/{name}"


def _run(place, script):
    engine = create_engine(
        make_url(place).set(drivername="postgresql+psycopg") if "://" in place else f"sqlite:///{place}"
    )
    with engine.begin() as connection:
        for statement in filter(str.strip, script.split(";")):
            connection.execute(text(statement.replace(":", "\\:")))
    engine.dispose()


def _held(place):
    """All tables of a ledger, with their columns and rows."""
    engine = create_engine(
        make_url(place).set(drivername="postgresql+psycopg") if "://" in place else f"sqlite:///{place}"
    )
    with engine.connect() as connection:
        names = sorted(inspect(connection).get_table_names())
        found = {name: pd.read_sql(text(f'SELECT * FROM "{name}" ORDER BY 1, 2'), connection) for name in names}
    engine.dispose()
    return {name: (list(frame.columns), frame.to_dict("records")) for name, frame in found.items()}


def _asked(ledger):
    """What a ledger answers to all that can be asked of it."""
    mails, runs = ledger.deliveries(), ledger.status()
    decisions, customers = mails["decision_id"].tolist(), mails["customer_id"].tolist()
    first = ledger.rows(decisions)
    return {
        "mails": mails,
        "runs": runs,
        "of one": ledger.deliveries(customer=customers[0]),
        "audit": ledger.audit(),
        "codes": ledger.coupons(),
        "list": ledger.suppressions.table,
        "head": ledger.audit_head(),
        "verify": ledger.verify(),
        "settled": ledger.settled(decisions),
        "behind": ledger.left_behind(decisions),
        "last": ledger.last_run(),
        "signed": ledger.last_approval(),
        "sent": ledger.marketing_of(customers),
        "rows": first,
        "next": [ledger.next_moment(one) for one in runs["run_id"]],
        "why": ledger.why("run"),
        "left": ledger.left_of("digest"),
        "unknown": ledger.unknown("outbox:here"),
        "mark": ledger.high_water.mine(),
    }


@pytest.mark.parametrize("version", ["first", "third", "sixth"])
def test_an_earlier_version_answers_as_it_will_when_it_is_brought_up_to_date(place, shop, clock, version, tmp_path):
    if version == "first":
        _run(place, FIRST)
    else:
        ways = {"transport": f"outbox:{tmp_path / 'out'}", "ledger": place, "progress": False, "clock": clock}
        batch = shop.prepare(ledger=place)
        standing = approve_standing(shop.program, shop.templates, by="ana", mails_a_day=7, clock=clock)
        assert send(batch, standing, confirm=len(batch), **ways).sent == 7
        rest = shop.prepare(ledger=place)
        assert send(rest, shop.approve(rest, clock=clock), confirm=len(rest), **ways).sent == 5
        _run(place, SIXTH if version == "sixth" else SIXTH + THIRD)
    before = _held(place)
    with Ledger.as_it_is(place, clock=clock) as ledger:
        found = _asked(ledger)
        with pytest.raises(LedgerError, match=r"cannot be written: .*read-?only"):
            ledger.suppressions.add("ana@example.org", by="ben")
    assert _held(place) == before
    with Ledger.open(place, clock=clock) as ledger:
        then = _asked(ledger)
    assert _held(place)["meta"] != before["meta"]
    for name, one in found.items():
        if isinstance(one, pd.DataFrame):
            pd.testing.assert_frame_equal(one, then[name], obj=name)
        else:
            assert one == then[name], name


def test_an_empty_place_is_no_ledger_and_none_is_made_there(place):
    if "://" not in place:
        with pytest.raises(LedgerError, match="cannot be opened: No such file"):
            Ledger.as_it_is(place)
        open(place, "w").close()
    with pytest.raises(LedgerError, match="there is none"):
        Ledger.as_it_is(place)
    with Ledger.if_there(place) as found:
        assert found is None
    assert named_elsewhere(place) is None
    assert _held(place) == {}


def test_a_batch_is_prepared_and_refused_and_its_copies_go_without_a_change_to_an_earlier_version(place, shop, clock):
    assert len(shop.prepare(ledger=place)) == 12  # where there is none yet
    _run(place, FIRST)
    before = _held(place)
    batch = shop.prepare(ledger=place)
    assert len(batch) == 12
    assert named_elsewhere(place) is None
    assert send_test(batch, "ana@example.com", transport="outbox:./copies", progress=False).sent == 1
    approval = shop.approve(batch, clock=clock)
    with pytest.raises(ApprovalError, match="changed after signing"):
        send(batch, replace(approval, signature="A" * 88), transport="outbox:./out", confirm=12, progress=False)
    line = {"now": NOON.isoformat(), "program": content_hash(shop.program), "scenarios": ["welcome"]}
    due = [mail.letter.decision_id for mail in batch.mails]
    Captures(shop.folder / "captures").add(NOON, line, due=due, left_out={})
    day = parity(shop.program, shop.log, ledger=place, captures=shop.folder / "captures", day=NOON.date())
    assert len(day.unexplained) == 12
    assert "ana" not in str(erase("c1", by="ben", ledger=place))
    with pytest.raises(InputError, match="nothing to do"):
        reconcile(place, by="ben", progress=False)
    assert {name: held for name, held in _held(place).items() if not name.startswith(("answer", "tracked"))} == before


COMMANDS = [
    "status",
    "status --all",
    "status --customer c1",
    "audit verify",
    "suppressions show",
    "suppressions export list.csv",
    "cancel run --by ana",
    "erase c1 --by ana",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_only_looks_leaves_every_byte_of_an_earlier_version(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "ledger.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(TABLES + ROWS)
    before = path.read_bytes()
    done = CliRunner().invoke(app, [*command.split(), "--ledger", str(path)])
    assert done.exit_code == 0, done.output
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith("ledger")] == ["ledger.sqlite"]


def test_a_command_that_changes_something_brings_it_up_to_date(place):
    _run(place, FIRST)
    done = CliRunner().invoke(app, ["cancel", "run", "--by", "ana", "--yes", "--ledger", place])
    assert (done.exit_code, "1 mail will not go" in done.output) == (0, True)
    assert {"name": "version", "value": str(VERSION)} in _held(place)["meta"][1]


def test_a_ledger_on_a_disk_that_nobody_may_write_to_can_be_asked(small_disk, ledger, entries, run_record, tmp_path):
    ledger.plan(run_record(mails=2), entries(2))
    ledger.close()
    path = small_disk / "büro ?.sqlite"
    shutil.copy(tmp_path / "ledger.sqlite", path)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with Ledger.as_it_is(path) as looked:
        assert (looked.place, len(looked.deliveries())) == (str(path), 2)
    done = CliRunner().invoke(app, ["status", "--ledger", str(path)])
    assert (done.exit_code, "2 mails, 2 to go" in done.output) == (0, True)
    with pytest.raises(LedgerError, match="cannot be opened: unable to open database file"):
        Ledger.open(path)
