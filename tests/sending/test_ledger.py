"""The ledger: nothing twice, nothing silently lost, nothing changed unseen."""

from __future__ import annotations

import gc
import sqlite3
import stat
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Dialect

from tests.sending.addresses import check_that_addresses_are_found
from toolkit.errors import LedgerError, NotSupportedError
from toolkit.sending.clock import micros
from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.ledger.owners import owner
from toolkit.sending.ledger.schema import VERSION
from toolkit.sending.ledger.turns import Claiming
from toolkit.sending.protocol import Receipt
from toolkit.sending.states import State

LEASE = 30_000_000


def _accept(row):
    return row, Receipt(row.decision_id, State.ACCEPTED, receipt=f"{row.decision_id}.eml")


def _send_all(ledger, run_id="run", *, name="sender"):
    sent = []
    while held := ledger.claim(run_id, owner=name, limit=4, lease=LEASE):
        sent += ledger.record([_accept(row) for row in ledger.start(held)])
    ledger.finish(run_id, by=name)
    return sent


def _tamper(ledger, statement):
    with closing(sqlite3.connect(ledger.place)) as connection, connection:
        connection.execute(statement)
    connection.close()


def test_a_planned_mail_is_claimed_started_accepted_once(ledger, entries, run_record):
    planned = ledger.plan(run_record(mails=10), entries(10))
    assert (planned.added, planned.adopted, planned.known) == (10, 0, 0)
    assert len(_send_all(ledger)) == 10
    assert _send_all(ledger) == []
    row = ledger.status().iloc[0]
    assert (row.accepted, row.planned, row.done, row.says) == (10, 0, True, "done")


def test_planning_the_same_batch_again_adds_nothing(ledger, entries, run_record):
    ledger.plan(run_record(mails=10), entries(10))
    again = ledger.plan(run_record(mails=10), entries(10))
    assert (again.added, again.adopted, again.known) == (0, 0, 10)
    assert len(ledger.deliveries()) == 10


def test_a_later_batch_takes_over_what_an_earlier_one_left_and_not_what_it_sent(ledger, entries, run_record):
    ledger.plan(run_record("first", mails=6), entries(6))
    held = ledger.claim("first", owner="a", limit=2, lease=LEASE)
    ledger.record([_accept(row) for row in ledger.start(held)])
    planned = ledger.plan(run_record("second", mails=8), entries(8))
    assert (planned.added, planned.adopted, planned.known) == (2, 4, 2)
    assert ledger.claim("first", owner="a", limit=10, lease=LEASE) == []
    assert len(_send_all(ledger, "second")) == 6
    runs = ledger.status().set_index("run_id")
    assert runs.accepted.to_dict() == {"first": 2, "second": 6}
    assert runs.says.to_dict() == {"first": "done, 4 in other runs", "second": "done, 2 in other runs"}


def test_a_run_that_only_takes_over_stands_in_the_audit_and_one_that_adds_nothing_does_not(ledger, entries, run_record):
    ledger.plan(run_record("first", mails=4), entries(4))
    ledger.plan(run_record("second", mails=4), entries(4))
    ledger.plan(run_record("second", mails=4), entries(4))
    said = ledger.audit()
    assert list(zip(said.action, said.subject, strict=True)) == [("planned", "first"), ("planned", "second")]
    assert '"adopted":4' in said.detail[1]


def test_a_run_that_is_paused_or_not_there_waits_for_nothing(ledger, clock, entries, run_record):
    ledger.plan(run_record(mails=4), entries(4))
    assert ledger.next_moment("run") == (micros(clock()), "")
    ledger.pause("run", by="ana")
    assert ledger.next_moment("run") == (None, "")
    assert ledger.next_moment("another") == (None, "")


def test_two_senders_never_hold_the_same_mail(ledger, entries, run_record):
    ledger.plan(run_record(mails=10), entries(10))
    one = ledger.claim("run", owner="one", limit=6, lease=LEASE)
    two = ledger.claim("run", owner="two", limit=6, lease=LEASE)
    assert len(one) == 6
    assert len(two) == 4
    assert not {row.id for row in one} & {row.id for row in two}


def test_a_sender_whose_lease_is_over_may_not_start(ledger, clock, entries, run_record):
    ledger.plan(run_record(mails=3), entries(3))
    held = ledger.claim("run", owner="slow", limit=3, lease=LEASE)
    clock.forward(seconds=31)
    assert ledger.start(held) == []


def test_a_sender_that_slept_past_its_lease_may_not_start_what_another_took_over(ledger, clock, entries, run_record):
    ledger.plan(run_record(mails=3), entries(3))
    held = ledger.claim("run", owner="slow", limit=3, lease=LEASE)
    clock.forward(seconds=31)
    assert ledger.recover() == []
    assert len(ledger.claim("run", owner="slow", limit=3, lease=LEASE)) == 3
    assert ledger.start(held) == []  # the same owner, an older epoch


def test_what_was_under_way_when_the_lease_ended_is_unknown_and_never_claimed(ledger, clock, entries, run_record):
    ledger.plan(run_record(mails=5), entries(5))
    ledger.start(ledger.claim("run", owner="dead", limit=2, lease=LEASE))
    clock.forward(seconds=31)
    assert [row.decision_id for row in ledger.recover()] == ["d00000", "d00001"]
    assert len(_send_all(ledger)) == 3
    row = ledger.status().iloc[0]
    assert (row.unknown, row.accepted, row.done, row.says) == (2, 3, True, "done, 2 unknown")
    assert list(ledger.deliveries(state="unknown").decision_id) == ["d00000", "d00001"]


def test_a_sender_that_returned_gives_up_its_mails_before_its_lease_ends(ledger, entries, run_record):
    ledger.plan(run_record(mails=4), entries(4))
    with owner() as name:
        ledger.start(ledger.claim("run", owner=name, limit=1, lease=LEASE))
        ledger.claim("run", owner=name, limit=1, lease=LEASE)
        assert ledger.recover() == []
    assert [row.decision_id for row in ledger.recover()] == ["d00000"]
    assert ledger.known(["d00001"]) == {"d00001": State.PLANNED}


def test_a_receipt_that_comes_late_settles_an_unknown_mail(ledger, clock, entries, run_record):
    ledger.plan(run_record(mails=1), entries(1))
    started = ledger.start(ledger.claim("run", owner="slow", limit=1, lease=LEASE))
    clock.forward(seconds=31)
    ledger.recover()
    assert len(ledger.record([_accept(row) for row in started])) == 1
    assert ledger.known(["d00000"]) == {"d00000": State.ACCEPTED}


def test_unknown_mails_are_settled_by_what_the_witness_found(ledger, clock, entries, run_record):
    ledger.plan(run_record(mails=2), entries(2))
    ledger.start(ledger.claim("run", owner="dead", limit=2, lease=LEASE))
    clock.forward(seconds=31)
    ledger.recover()
    ledger.finish("run", by="x")
    found = {"d00000": Receipt("d00000", State.ACCEPTED, receipt="d00000.eml")}
    ledger.settle(ledger.unknown("outbox:/here"), found, by="evidence")
    assert ledger.known(["d00000", "d00001"]) == {"d00000": State.ACCEPTED, "d00001": State.PLANNED}
    assert len(_send_all(ledger)) == 1  # though the run had been done
    assert ledger.verify() == ()


def test_evidence_of_one_way_out_says_nothing_about_the_mails_of_another(ledger, clock, entries, run_record):
    ledger.plan(run_record(mails=1), entries(1))
    ledger.start(ledger.claim("run", owner="dead", limit=1, lease=LEASE))
    clock.forward(seconds=31)
    ledger.recover()
    assert ledger.unknown("outbox:elsewhere") == []


def test_a_person_may_settle_an_unknown_mail_either_way_and_is_named_in_the_audit(ledger, clock, entries, run_record):
    ledger.plan(run_record(mails=2), entries(2))
    ledger.start(ledger.claim("run", owner="dead", limit=2, lease=LEASE))
    clock.forward(seconds=31)
    ledger.recover()
    ledger.assume_sent("d00000", by="ana", why="seen in the log of the server")
    ledger.send_again("d00001", by="ben")
    assert ledger.known(["d00000", "d00001"]) == {"d00000": State.ACCEPTED, "d00001": State.PLANNED}
    said = ledger.audit()
    assert list(said[said.action == "settled"].actor) == ["ana", "ben"]
    with pytest.raises(LedgerError, match="d00000 is accepted; only an unknown mail"):
        ledger.send_again("d00000", by="ben")
    with pytest.raises(LedgerError, match="nobody is not in the ledger"):
        ledger.assume_sent("nobody", by="ben")


def test_a_refused_mail_fails_or_waits_for_its_next_try(ledger, clock, entries, run_record):
    ledger.plan(run_record(mails=2), entries(2))
    one, two = ledger.start(ledger.claim("run", owner="a", limit=2, lease=LEASE))
    later = int((clock.now + timedelta(minutes=5)).timestamp() * 1_000_000)
    refused = Receipt(one.decision_id, State.FAILED, code=550, reason="no such user")
    postponed = Receipt(two.decision_id, State.DEFERRED, code=451, reason="try again later")
    ledger.record([(one, refused), (two, postponed)], next_at={two.decision_id: later})
    assert ledger.claim("run", owner="a", limit=2, lease=LEASE) == []
    assert ledger.status().iloc[0].says == "1 to go, 1 failed"
    clock.forward(minutes=5)
    assert [row.decision_id for row in ledger.claim("run", owner="a", limit=2, lease=LEASE)] == [two.decision_id]


def test_no_mail_is_postponed_without_a_moment_at_which_it_goes_again(ledger, clock, entries, run_record):
    ledger.plan(run_record(mails=2), entries(2))
    one, two = ledger.start(ledger.claim("run", owner="a", limit=2, lease=LEASE))
    results = [(row, Receipt(row.decision_id, State.DEFERRED, code=451)) for row in (one, two)]
    with pytest.raises(LedgerError, match="d00001 is deferred, and next_at does not say until when"):
        ledger.record(results, next_at={one.decision_id: micros(clock())})
    assert ledger.counts("run") == {State.SENDING: 2}
    assert len(ledger.record(results, next_at=dict.fromkeys([one.decision_id, two.decision_id], micros(clock())))) == 2
    assert ledger.counts("run") == {State.DEFERRED: 2}


def test_mails_still_waiting_when_the_approval_is_over_expire(ledger, clock, entries, run_record):
    ledger.plan(run_record(mails=3, hours=1), entries(3))
    clock.forward(hours=1)
    assert ledger.claim("run", owner="a", limit=3, lease=LEASE) == []
    assert ledger.status().iloc[0].expired == 3


def test_of_several_approvals_the_one_that_is_over_first_ends_the_run(ledger, clock, entries, run_record):
    run = run_record(mails=1)
    short = replace(run.approvals[0], id="another", expires_at=run.approvals[0].signed_at + 3_600_000_000)
    ledger.plan(replace(run, approvals=(*run.approvals, short)), entries(1))
    clock.forward(hours=1)
    assert ledger.claim("run", owner="a", limit=1, lease=LEASE) == []
    assert ledger.counts("run") == {State.EXPIRED: 1}


def test_a_renewed_lease_lasts_longer(ledger, clock, entries, run_record):
    ledger.plan(run_record(mails=1), entries(1))
    held = ledger.claim("run", owner="a", limit=1, lease=LEASE)
    clock.forward(seconds=20)
    ledger.renew("a", lease=LEASE)
    clock.forward(seconds=20)
    assert len(ledger.start(held)) == 1


def test_a_sender_renews_its_own_leases_and_not_those_of_one_that_is_gone(ledger, clock, entries, run_record):
    ledger.plan(run_record(mails=2), entries(2))
    gone, there = (ledger.claim("run", owner=name, limit=1, lease=LEASE) for name in ("gone", "there"))
    ledger.start(gone)
    clock.forward(seconds=20)
    ledger.renew("there", lease=LEASE)
    clock.forward(seconds=20)
    assert [row.decision_id for row in ledger.recover()] == [row.decision_id for row in gone]
    assert len(ledger.start(there)) == 1
    said = ledger.audit().iloc[-1]
    assert (said.actor, said.action, said.subject) == ("sender", "unknown", gone[0].decision_id)


def test_each_run_of_a_ledger_counts_its_own_mails_and_all_moments_are_the_clocks(ledger, clock, entries, run_record):
    ledger.plan(run_record("first", mails=3), entries(3))
    clock.forward(hours=1)
    ledger.plan(run_record("second", mails=2), entries(2, first=3))
    ledger.suppressions.add("c9@example.org", by="ben", reason="complaint")
    _send_all(ledger, "second")
    assert ledger.counts("first") == {State.PLANNED: 3}
    assert ledger.counts("second") == {State.ACCEPTED: 2}
    assert set(ledger.audit()["at"]) == {clock.now - timedelta(hours=1), clock.now}
    assert ledger.suppressions.table["at"].tolist() == [clock.now]


def test_a_row_set_back_from_accepted_is_refused_and_named(ledger, entries, run_record):
    ledger.plan(run_record(mails=2), entries(2))
    _send_all(ledger)
    _tamper(ledger, "UPDATE delivery SET state = 'planned' WHERE decision_id = 'd00001'")
    with pytest.raises(LedgerError, match="d00001 was tampered with"):
        ledger.plan(run_record("later", mails=2), entries(2))
    assert ledger.verify() == ("delivery d00001: is planned, but an attempt says it was accepted",)


def test_a_row_whose_address_was_changed_is_refused_and_named(ledger, entries, run_record):
    ledger.plan(run_record(mails=2), entries(2))
    _tamper(ledger, "UPDATE delivery SET address = 'thief@example.net' WHERE decision_id = 'd00001'")
    with pytest.raises(LedgerError, match="d00001 was tampered with: not as approved are address"):
        ledger.plan(run_record(mails=2), entries(2))


def test_a_row_that_was_removed_is_found_and_no_new_mail_comes_by_its_attempts(ledger, entries, run_record):
    ledger.plan(run_record(mails=3), entries(3))
    _send_all(ledger)
    _tamper(ledger, "PRAGMA foreign_keys=OFF")
    _tamper(ledger, "DELETE FROM delivery WHERE decision_id = 'd00002'")
    assert ledger.verify() == ("delivery row 3: has an attempt, and is gone",)
    with pytest.raises(LedgerError, match="tampered with: row 3 has an attempt and is gone; nothing was sent"):
        ledger.plan(run_record("later", mails=3), entries(3))
    assert len(ledger.deliveries()) == 2


@pytest.mark.parametrize(("decisions", "row"), [("'d00001'", 2), ("'d00000'", 1), ("'d00001', 'd00002'", 2)])
def test_a_row_taken_from_the_middle_is_missed_before_its_mail_goes_again(ledger, entries, run_record, decisions, row):
    ledger.plan(run_record(mails=5), entries(5))
    _send_all(ledger)
    _tamper(ledger, "PRAGMA foreign_keys=OFF")
    _tamper(ledger, f"DELETE FROM delivery WHERE decision_id IN ({decisions})")
    there = len(ledger.deliveries())
    with pytest.raises(LedgerError, match=f"tampered with: row {row} is gone; nothing was sent"):
        ledger.plan(run_record("later", mails=5), entries(5))
    assert len(ledger.deliveries()) == there


def test_a_message_id_of_another_mail_is_refused_and_named(ledger, entries, run_record):
    ledger.plan(run_record(mails=2), entries(2))
    *_, third = entries(3)
    with pytest.raises(LedgerError, match="d00002 cannot be planned: its Message-ID is another mail's"):
        ledger.plan(run_record("later", mails=1), [replace(third, message_id=next(iter(entries(1))).message_id)])


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE audit SET actor = 'nobody' WHERE seq = 1", "audit line 1 (planned run): was changed"),
        ("DELETE FROM audit WHERE seq = 1", "audit line 2: 1 line(s) before it are gone"),
        ("DELETE FROM audit WHERE seq = 2", "audit: ends at line 1, but line 2 was written"),
    ],
)
def test_a_changed_or_missing_line_of_the_audit_is_found(ledger, entries, run_record, statement, said):
    ledger.plan(run_record(mails=2), entries(2))
    _send_all(ledger)
    assert ledger.verify() == ()
    _tamper(ledger, statement)
    assert ledger.verify() == (said,)


def test_what_was_written_is_there_when_the_ledger_is_opened_again(tmp_path, clock, entries, run_record):
    with Ledger.open(tmp_path / "deep" / "ledger.sqlite", clock=clock) as ledger:
        ledger.plan(run_record(mails=3), entries(3))
    with Ledger.open(f"sqlite:///{tmp_path}/deep/ledger.sqlite", clock=clock) as ledger:
        assert ledger.known(["d00000", "other"]) == {"d00000": State.PLANNED}


def test_the_ledger_is_written_ahead_safe_at_every_commit_and_for_its_owner_alone(ledger):
    with ledger._engine.connect() as connection:
        pragma = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")
        }
    assert pragma == {"journal_mode": "wal", "synchronous": 2}
    assert stat.S_IMODE(Path(ledger.place).stat().st_mode) == 0o600


def test_a_ledger_of_a_newer_version_is_refused(ledger):
    _tamper(ledger, f"UPDATE meta SET value = '{VERSION + 1}' WHERE name = 'version'")
    with pytest.raises(LedgerError, match=r"newer version .*update trigger-toolkit"):
        Ledger.open(ledger.place)


def test_a_file_that_is_something_else_is_refused_and_left_alone(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("not a database at all, and long enough to look at" * 20)
    with pytest.raises(LedgerError, match="file is not a database"):
        Ledger.open(text)
    other = tmp_path / "shop.sqlite"
    with closing(sqlite3.connect(other)) as connection, connection:
        connection.execute("CREATE TABLE basket (id INTEGER)")
    connection.close()
    with pytest.raises(LedgerError, match=r"is another database \(it holds the tables basket\)"):
        Ledger.open(other)
    with closing(sqlite3.connect(other)) as connection, connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("basket",)]
    connection.close()


@pytest.mark.parametrize(
    ("where", "error", "said"),
    [
        ("mysql://db.example.org/x", NotSupportedError, "mysql is not supported"),
        ("sqlite://", LedgerError, "in memory forgets"),
        ("postgresql+pg8000://ana:secret@db.example.org/x", LedgerError, "driver 'pg8000' is not installed"),
        ("a url://ana:secret@", LedgerError, "not a database URL"),
    ],
)
def test_a_place_that_cannot_hold_a_ledger_says_why_and_shows_no_password(where, error, said):
    with pytest.raises(error, match=said) as raised:
        Ledger.open(where)
    assert "secret" not in str(raised.value)


# --- one commit -------------------------------------------------------------------------------------------------------


def test_the_mails_of_one_customer_are_found_however_their_address_is_written(ledger, run_record, entries):
    check_that_addresses_are_found(ledger, run_record, entries)


def test_receipts_starts_and_the_next_leases_are_one_commit(ledger, run_record, entries):
    ledger.plan(run_record(mails=9), entries(9))
    first = ledger.claim("run", owner="a", limit=4, lease=LEASE)
    started = ledger.start(first[:2])
    turn = ledger.turn([_accept(row) for row in started], first[2:], claiming=Claiming("run", "a", 3, LEASE))
    assert [row.decision_id for row in turn.recorded] == ["d00000", "d00001"]
    assert [(row.decision_id, row.state) for row in turn.started] == [("d00002", "sending"), ("d00003", "sending")]
    assert [(row.decision_id, row.epoch) for row in turn.claimed] == [(f"d0000{n}", 1) for n in (4, 5, 6)]
    assert ledger.rows([row.decision_id for row in turn.started]) == turn.started
    assert ledger.rows([row.decision_id for row in turn.claimed]) == turn.claimed


@pytest.mark.parametrize("what", ["paused", "limited", "suppressed", "resting"])
def test_a_commit_asks_anew_what_may_go(ledger, run_record, entries, what):
    ledger.plan(run_record(mails=9), entries(9))
    held = ledger.claim("run", owner="a", limit=4, lease=LEASE)
    (*_, fifth) = entries(5)
    if what == "paused":
        ledger.pause("run", by="ana")
    elif what == "limited":
        ledger.rates.limit(run_record().transport, by="ana", per_day=2)
    elif what == "suppressed":
        ledger.suppressions.add(fifth.address, by="ana")
    else:
        _tamper(ledger, f"INSERT INTO domain VALUES ('{fifth.domain}', 3, {2**60}, 'busy')")
    turn = ledger.turn((), held, claiming=Claiming("run", "a", 3, LEASE))
    names = [row.decision_id for row in turn.claimed]
    expected = {
        "paused": [],
        "limited": ["d00004", "d00005"],
        "suppressed": ["d00005", "d00006", "d00007"],
        "resting": [],
    }
    assert names == expected[what]
    assert len(turn.started) == (0 if what == "paused" else 4)


def test_a_mail_counts_its_attempts_however_its_commit_comes_about(ledger, run_record, entries):
    ledger.plan(run_record(mails=3), entries(3))
    assert set(ledger.deliveries()["attempts"]) == {0}
    held = ledger.claim("run", owner="a", limit=3, lease=LEASE)
    _tamper(ledger, "UPDATE delivery SET owner = 'b', epoch = epoch + 1 WHERE id = 3")
    assert [(row.decision_id, row.attempts) for row in ledger.start(held)] == [("d00000", 1), ("d00001", 1)]
    assert ledger.deliveries()["attempts"].tolist() == [1, 1, 0]


def test_what_is_renewed_is_what_a_sender_has_in_hand(ledger, run_record, entries):
    ledger.plan(run_record(mails=3), entries(3))
    held = ledger.claim("run", owner="a", limit=3, lease=LEASE)
    ledger.record([_accept(row) for row in ledger.start(held[:1])])
    ledger.renew("a", lease=LEASE)
    rows = ledger.rows([row.decision_id for row in held])
    assert [row.lease_until is None for row in rows] == [True, False, False]


def test_what_others_did_to_the_rows_meanwhile_is_seen_and_nothing_is_done_twice(ledger, run_record, entries, clock):
    ledger.plan(run_record(mails=9), entries(9))
    first = ledger.claim("run", owner="a", limit=4, lease=LEASE)
    started = ledger.start(first[:2])
    clock.forward(seconds=LEASE / 1e6 + 1)
    ledger.recover()  # the leases are over: two are in doubt, two planned again
    turn = ledger.turn([_accept(row) for row in started], first[2:], claiming=Claiming("run", "a", 3, LEASE))
    assert [row.decision_id for row in turn.recorded] == ["d00000", "d00001"]  # a late receipt settles a doubt
    assert turn.started == []
    assert [(row.decision_id, row.epoch) for row in turn.claimed] == [("d00002", 2), ("d00003", 2), ("d00004", 1)]
    assert ledger.counts("run") == {"accepted": 2, "leased": 3, "planned": 4}
    assert len(ledger.deliveries()) == 9
    assert ledger.verify() == ()


def test_ledgers_that_were_closed_leave_nothing_in_memory(tmp_path):
    def dialects():
        gc.collect()
        return sum(isinstance(one, Dialect) for one in gc.get_objects())

    def look(number):
        with Ledger.open(tmp_path / f"{number}.sqlite") as ledger:
            ledger.known(["a decision"])

    look(0)
    before = dialects()
    for number in range(1, 6):
        look(number)
    assert dialects() == before
