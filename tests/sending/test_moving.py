"""A ledger moved from a file to PostgreSQL and back: all of it, and nobody sends from the old one."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from contextlib import closing
from datetime import timedelta

import pandas as pd
import pytest
from sqlalchemy import func, select, update
from typer.testing import CliRunner

from tests.sending.mailings import everybody_once
from toolkit.cli import app
from toolkit.database import close_tables, reopen_tables
from toolkit.errors import AnswersError, InputError, LedgerError
from toolkit.sending import Ledger, move_ledger, reopen_ledger
from toolkit.sending.answered import take_up, tell_sent
from toolkit.sending.clock import micros
from toolkit.sending.keys import key_file
from toolkit.sending.ledger import schema
from toolkit.sending.ledger.owners import owner
from toolkit.sending.ledger.schema import deliveries, suppressions, tables
from toolkit.sending.ledger.shares import Shares
from toolkit.tracking import Answers, Incoming

SKIPPED = ("meta", "audit")


@pytest.fixture
def lived(mailing):
    """A ledger with some of everything: sent, refused, in doubt, waiting, suppressed, answered, limited."""
    refused = {
        "c1@example.org": ("RCPT", "550 no"),
        "c2@example.org": (".", "drop"),
        "c3@example.org": (".", "451 later"),
    }

    def fault(verb, count, recipient):
        where, answer = refused.get(recipient, ("", None))
        return answer if verb == where else None

    mailing.server.fault = fault
    with Ledger.open(mailing.ledger, clock=mailing.clock) as ledger:
        ledger.rates.limit(mailing.way, by="ana", per_second=1000)
        ledger.suppressions.add("c0@example.org", by="ben")
    report = mailing.send(8)
    assert (report.sent, report.failed, report.unknown) == (4, 1, 1)
    with Answers.open(mailing.folder / "answers.sqlite", clock=lambda: micros(mailing.now)) as answers:
        (mails,) = answers.handed_down()
        names = {row.customer_id: row.name for row in mails}
        left = [("unsubscribed", "c5"), ("unsubscribed", "c6"), ("subscribed", "c6")]
        answers.record([Incoming(kind, micros(mailing.now), mail=names[customer]) for kind, customer in left])
        with Ledger.open(mailing.ledger, clock=mailing.clock) as ledger:
            assert take_up(ledger, answers).restored == 1
            ledger.suppressions.add("c6@example.org", by="ben", reason="unsubscribed")  # and then said no on the phone
    mailing.server.fault = lambda *asked: None
    return mailing


def _rows(place):
    """Every row of a ledger, by table, whatever their order."""
    found = {}
    with Ledger.open(place) as ledger, ledger.reading() as connection:
        for table in tables():
            if table.name not in SKIPPED:
                found[table.name] = sorted(repr(tuple(row)) for row in connection.execute(select(table)))
    return found


def _answers(place):
    with Answers.open(place) as answers:
        return answers.table, [tuple(row) for some in answers.handed_down() for row in some]


def test_all_of_a_ledger_is_in_postgresql_and_sending_goes_on_there(lived, database):
    old, (new, _) = lived.ledger, database
    before, answered = _rows(old), _answers(lived.folder / "answers.sqlite")
    done = move_ledger(old, new, by="ana", progress=False, clock=lived.clock)
    assert "7 mails and 7 answers" in str(done)
    assert _rows(new) == before
    table, mails = _answers(new)
    pd.testing.assert_frame_equal(table, answered[0])
    assert mails == answered[1]
    assert key_file(new).read_bytes() == key_file(str(old)).read_bytes()
    with Ledger.open(new, clock=lived.clock) as ledger, Answers.open(new) as answers:
        assert ledger.verify() == ()
        line = ledger.audit().iloc[-1]
        assert (line.actor, line.action, json.loads(line.detail)) == ("ana", "moved", {"from": str(old)})
        # How far the answers were told and taken up is known there, too.
        assert answers.noted(f"sent of {ledger.place}") > 0
        assert tell_sent(ledger, answers) == 0
        assert (take_up(ledger, answers).restored, take_up(ledger, answers).suppressed) == (0, {})
        assert ledger.suppressions.reason("c6@example.org") == "unsubscribed"
    lived.ledger = new
    lived.now += timedelta(minutes=10)
    report = lived.send(10)
    assert report.sent == 3  # the one refused for now, and two who are new
    assert lived.got() == everybody_once(10) - Counter(f"c{one}@example.org" for one in range(3))


def test_nobody_sends_from_the_old_one_and_every_way_to_write_names_the_new(lived, database):
    old, (new, _) = lived.ledger, database
    with Ledger.open(old, clock=lived.clock) as running, Answers.open(lived.folder / "answers.sqlite") as tracker:
        move_ledger(old, new, by="ana", progress=False, clock=lived.clock)
        where = new.split("@")[1]
        with pytest.raises(LedgerError, match=f"was moved to .*{where} by ana, 2026-03-02 12:01 UTC; use that one"):
            lived.send(10)
        said = []
        with pytest.raises(LedgerError, match=f"was moved to .*{where}"):
            lived.rounds(10, said)
        with pytest.raises(LedgerError, match=f"cannot be written: it was moved to .*{where}; use that one"):
            running.suppressions.add("new@example.org", by="ben")
        with pytest.raises(AnswersError, match=f"they were moved to .*{where}; use those"):
            tracker.record([Incoming("opened", micros(lived.now), mail="a" * 16)])
    shown = CliRunner().invoke(app, ["status", "--ledger", str(old)])
    assert f"{where} by ana" in shown.output.splitlines()[0]
    with pytest.raises(LedgerError, match="was moved to"):
        move_ledger(old, f"{lived.folder}/third/ledger.sqlite", by="ana", progress=False)
    assert lived.got().total() == 4


def test_there_and_back_the_rows_are_without_a_gap_and_mails_go_on(lived, database, tmp_path):
    old, (new, _) = lived.ledger, database
    move_ledger(old, new, by="ana", progress=False, clock=lived.clock)
    with Ledger.open(new, clock=lived.clock) as ledger, ledger.changing() as connection:
        connection.exec_driver_sql("SELECT nextval('delivery_id_seq'), nextval('delivery_id_seq')")  # gaps
    lived.ledger = new
    lived.send(10)
    back = tmp_path / "back" / "ledger.sqlite"
    done = move_ledger(new, back, by="ana", progress=False, clock=lived.clock)
    assert done.rows["delivery"] == 9
    with Ledger.open(new) as there, Ledger.open(back) as here:
        columns = ["decision_id", "address", "state", "receipt", "attempts"]
        pd.testing.assert_frame_equal(here.deliveries()[columns], there.deliveries()[columns])
        assert here.verify() == ()
        with here.reading() as connection:
            count, last = connection.execute(select(func.count(), func.max(deliveries.c.id))).one()
    assert count == last == 9
    lived.ledger = back
    assert lived.send(12).sent == 2
    assert max(lived.got().values()) == 1
    lived.ledger = new
    with pytest.raises(LedgerError, match="was moved to"):
        lived.send(12)


def test_a_move_is_taken_back_unless_mails_left_from_the_new_place(lived, tmp_path):
    new = tmp_path / "new" / "ledger.sqlite"
    old = lived.ledger
    with pytest.raises(InputError, match="was not moved"):
        reopen_ledger(old, by="ana")
    move_ledger(old, new, by="ana", progress=False, clock=lived.clock)
    reopen_ledger(old, by="ben", clock=lived.clock)
    assert lived.send(9).sent == 2  # who is new, and the one who was refused for now
    with Ledger.open(new) as ledger:
        assert ledger.verify() == ()
    lived.ledger = new
    with pytest.raises(LedgerError, match=f"was moved to {re.escape(str(old))} by ben"):
        lived.send(9)  # they got it from the old one
    lived.ledger = old
    with Ledger.open(old) as ledger:
        assert ledger.verify() == ()
        assert ledger.audit()["action"].tolist().count("reopened") == 1
    again = tmp_path / "again" / "ledger.sqlite"
    move_ledger(old, again, by="ana", progress=False, clock=lived.clock)
    lived.ledger = again
    assert lived.send(11).sent == 2
    with pytest.raises(LedgerError, match="and mails left from there since; move that one instead"):
        reopen_ledger(old, by="ben", clock=lived.clock)


def test_a_move_is_not_taken_back_where_another_machine_sent_from_the_new_place(lived, tmp_path, monkeypatch):
    new, old = tmp_path / "new" / "ledger.sqlite", lived.ledger
    move_ledger(old, new, by="ana", progress=False, clock=lived.clock)
    lived.ledger = new
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("XDG_CONFIG_HOME", str(tmp_path / "another home"))
        assert lived.send(9).sent
    with pytest.raises(LedgerError, match="and mails left from there since; move that one instead"):
        reopen_ledger(old, by="ben", clock=lived.clock)


def test_a_move_is_not_taken_back_where_the_ledger_was_moved_on(lived, tmp_path):
    new, old = tmp_path / "new" / "ledger.sqlite", lived.ledger
    move_ledger(old, new, by="ana", progress=False, clock=lived.clock)
    move_ledger(new, tmp_path / "third" / "ledger.sqlite", by="ana", progress=False, clock=lived.clock)
    with pytest.raises(LedgerError, match=r"and from there on to .*third.ledger\.sqlite; move that one instead"):
        reopen_ledger(old, by="ben", clock=lived.clock)


@pytest.mark.parametrize("where", ["file", "postgresql"])
def test_a_closed_ledger_is_brought_up_to_a_later_version_and_stays_closed(
    lived, tmp_path, database, monkeypatch, where
):
    def later(connection):
        connection.exec_driver_sql("UPDATE delivery SET domain = 'later.example'")
        connection.exec_driver_sql("CREATE TABLE later (one INTEGER)")

    old = lived.ledger
    if where == "postgresql":
        move_ledger(old, database[0], by="ana", progress=False, clock=lived.clock)
        old = database[0]
    move_ledger(old, tmp_path / "new.sqlite", by="ana", progress=False, clock=lived.clock)
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    monkeypatch.setattr(schema, "_STEPS", [*schema._STEPS, later])
    with Ledger.open(old) as ledger:
        with ledger.reading() as connection:
            assert set(connection.execute(select(deliveries.c.domain)).scalars()) == {"later.example"}
        with pytest.raises(LedgerError, match=r"it was moved to .*new\.sqlite; use that one"):
            ledger.suppressions.add("c9@example.org", by="ana")
    reopen_ledger(old, by="ben", clock=lived.clock)
    with Ledger.open(old) as ledger:
        ledger.suppressions.add("c9@example.org", by="ana")


def test_a_backup_of_the_old_one_is_recognised_though_it_was_made_before_the_move(lived, tmp_path):
    lived.back_up()
    move_ledger(lived.ledger, tmp_path / "new" / "ledger.sqlite", by="ana", progress=False, clock=lived.clock)
    (lived.folder / "ledger.sqlite").unlink()
    lived.put_back()
    with pytest.raises(LedgerError, match="was put back from a backup, or is an older copy"):
        lived.send(9)


def test_what_stands_in_the_way_is_told_and_nothing_is_moved(lived, tmp_path):
    old, new = lived.ledger, tmp_path / "new" / "ledger.sqlite"

    def refused(error, match, target=new):
        with pytest.raises(error, match=match):
            move_ledger(old, target, by="ana", progress=False, clock=lived.clock)
        with Ledger.open(old, clock=lived.clock) as ledger:  # it is still the one that is used
            ledger.suppressions.add(f"{len(match)}@example.org", by="ben")

    refused(InputError, "are one place", old)
    with Ledger.open(new) as other:
        other.suppressions.add("other@example.org", by="ben")
    refused(LedgerError, "is not empty: 1 row in")
    for path in new.parent.iterdir():
        path.unlink()
    new.with_suffix(".key").write_text("ab" * 32)
    refused(InputError, "is there already, and another than")
    new.with_suffix(".key").unlink()
    with Ledger.open(old, clock=lived.clock) as ledger, owner() as me:
        shares = Shares(ledger, me, approval="a" * 24, lease=timedelta(minutes=3), clock=lived.clock)
        assert shares.hold()
        refused(LedgerError, "a loop is at work")
        shares.release()
        batch = lived.prepare(9)
        assert len(batch) == 2
    with Answers.open(new.parent / "answers.sqlite") as answers:
        answers.record([Incoming("opened", micros(lived.now), mail="a" * 16)])
    refused(AnswersError, "is not empty")
    with pytest.raises(InputError, match="there is none"):
        move_ledger(tmp_path / "nowhere.sqlite", new, by="ana")
    with Ledger.open(new) as ledger:
        assert len(ledger.deliveries()) == 0


def test_what_was_written_and_is_not_what_was_read_moves_nothing(lived, tmp_path):
    new = tmp_path / "new" / "ledger.sqlite"
    with Ledger.open(new):
        pass
    with closing(sqlite3.connect(new)) as connection, connection:
        connection.execute(
            "CREATE TRIGGER bent AFTER INSERT ON delivery BEGIN UPDATE delivery SET state = 'planned' "
            "WHERE id = new.id AND customer_id = 'c2'; END"
        )
    with pytest.raises(LedgerError, match="delivery: of 7 rows written 7 were read back, or not the same"):
        move_ledger(lived.ledger, new, by="ana", progress=False, clock=lived.clock)
    lived.now += timedelta(minutes=10)
    assert lived.send(9).sent == 2


def test_the_commands_move_and_reopen(lived, tmp_path):
    new = tmp_path / "new" / "ledger.sqlite"
    done = CliRunner().invoke(app, ["ledger", "move", str(lived.ledger), str(new), "--by", "ana"])
    assert done.exit_code == 0, done.output
    assert "read back and equal" in done.output
    done = CliRunner().invoke(app, ["ledger", "reopen", str(lived.ledger), "--by", "ana"])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(app, ["ledger", "reconcile", "--ledger", str(lived.ledger), "--by", "ana"])
    assert done.exit_code == 1
    assert "knows all that left from it" in done.output


def test_a_mail_on_its_way_stops_a_move(lived, tmp_path):
    new = tmp_path / "new" / "ledger.sqlite"
    with Ledger.open(lived.ledger, clock=lived.clock) as ledger, owner() as me:
        held = {"state": "leased", "owner": me, "lease_until": micros(lived.now + timedelta(minutes=1))}
        with ledger.changing() as connection:
            connection.execute(update(deliveries).values(held).where(deliveries.c.customer_id == "c3"))
        with pytest.raises(LedgerError, match="a sender is at work; stop it first; nothing was moved"):
            move_ledger(lived.ledger, new, by="ana", progress=False, clock=lived.clock)
    move_ledger(lived.ledger, new, by="ana", progress=False, clock=lived.clock)  # its sender is over


def test_tables_that_are_closed_say_why_and_open_again(tmp_path, database):
    said = "it's 100% elsewhere"
    for place in (tmp_path / "ledger.sqlite", database[0]):
        with Ledger.open(place) as ledger:
            with ledger.changing() as connection:
                close_tables(connection, [suppressions], said)
            with pytest.raises(LedgerError, match=said):
                ledger.suppressions.add("ana@example.org", by="ben")
            with ledger.changing() as connection:
                reopen_tables(connection, [suppressions])
            ledger.suppressions.add("ana@example.org", by="ben")


def test_a_place_is_named_so_that_it_is_found_from_anywhere(lived, monkeypatch):
    monkeypatch.chdir(lived.folder)
    done = move_ledger("ledger.sqlite", "new.sqlite/ledger.sqlite", by="ana", progress=False, clock=lived.clock)
    assert done.target == f"{lived.folder}/new.sqlite/ledger.sqlite"
    with pytest.raises(LedgerError, match=f"was moved to {lived.folder}/new.sqlite/ledger.sqlite by ana"):
        lived.send(9)
