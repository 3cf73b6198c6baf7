"""A ledger put back from a backup is recognised, by what stands outside of it, and mails nobody twice."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from datetime import timedelta

import pandas as pd
import pytest

from tests.sending.mailings import everybody_once
from tests.sending.shops import log_of, people_of
from toolkit.errors import InputError, LedgerError
from toolkit.sending import (
    ApprovalPolicy,
    Ledger,
    send,
    start_sending,
    submit,
)
from toolkit.sending.answered import take_up
from toolkit.sending.batch.batch import Batch
from toolkit.sending.keys import public_line, signing_key
from toolkit.sending.reconciliation import Reconciliation
from toolkit.sending.sender_service import take_one
from toolkit.tracking import Answers, Incoming


def test_an_older_ledger_is_refused_and_reconciled_from_the_answers_it_mails_nobody_twice(mailing):
    assert mailing.send(4).sent == 4
    mailing.back_up()
    assert mailing.send(10).sent == 6
    mailing.put_back()
    with pytest.raises(LedgerError) as refused:
        mailing.send(12)
    said = str(refused.value)
    assert "was put back from a backup, or is an older copy: it knows what left until 2026-03-02 12:01:00 UTC" in said
    assert "but mails left until 2026-03-02 12:02:00 UTC" in said
    assert f"`toolkit ledger reconcile --ledger {mailing.ledger} --by NAME`" in said
    assert mailing.got() == everybody_once(10)
    looked = mailing.reconcile()
    assert (looked.sent, looked.in_doubt, looked.complete, looked.done) == (6, 0, True, False)
    with pytest.raises(LedgerError):
        mailing.send(12)
    assert mailing.reconcile(yes=True).sent == 6
    assert mailing.send(12).sent == 2  # those that nobody mailed; a `--since` would have left them out
    assert mailing.got() == everybody_once(12)
    with Ledger.open(mailing.ledger) as ledger:
        assert ledger.verify() == ()
        line = ledger.audit().set_index("action").loc["reconciled"]
    assert line.actor == "ben"
    assert json.loads(line.detail)["sent"] == 6
    with pytest.raises(InputError, match="knows all that left from it"):
        mailing.reconcile()


def test_an_older_ledger_is_refused_before_every_mail_is_hashed(mailing, monkeypatch):
    mailing.send(4)
    mailing.back_up()
    mailing.send(10)
    mailing.put_back()
    batch = mailing.prepare(12)
    approval = mailing.approve(batch)
    monkeypatch.setattr(Batch, "recomputed", lambda *a, **b: pytest.fail("hashed"))
    options = {"transport": mailing.way, "confirm": len(batch), "ledger": mailing.ledger, "clock": mailing.clock}
    for how, more in ((send, {"progress": False}), (start_sending, {})):
        with pytest.raises(LedgerError, match="was put back from a backup"):
            how(batch, approval, **options, **more)


def test_of_a_ledger_whose_file_is_gone_reconcile_says_what_is_true_and_begins_anew_where_asked(mailing):
    with pytest.raises(InputError, match="there is none, and no mail is known to have left from there"):
        mailing.reconcile()
    mailing.send(4)
    for path in mailing.folder.glob("ledger.sqlite*"):
        path.unlink()
    with pytest.raises(
        InputError, match=r"its file is gone, and mails left from it until 2026-03-02 12:01:00 UTC: put it"
    ):
        mailing.reconcile()
    assert not mailing.ledger.exists()
    assert mailing.reconcile(yes=True).sent == 4
    assert mailing.send(6).sent == 2
    assert mailing.got() == everybody_once(6)


def test_a_ledger_put_back_again_and_again_with_and_without_its_answers_mails_nobody_twice(mailing):
    both = "ledger.sqlite", "answers.sqlite"
    mailing.send(2)
    mailing.back_up(*both)
    mailing.send(4)
    mailing.put_back("ledger.sqlite")
    assert mailing.reconcile(yes=True).complete
    mailing.send(6)
    mailing.put_back(*both)  # the answers are whole for what the ledger was, and not for what it became
    assert not mailing.reconcile(yes=True).complete
    assert mailing.send(8).sent == 0
    late = [{"customer_id": "c8", "event": "sign_up", "at": mailing.now - timedelta(minutes=30)}]
    mailing.now += timedelta(hours=1)
    log = log_of(8, more=late, people=people_of(9))
    mailing.put_back("ledger.sqlite")  # the answers know all that left since, and not what was forgotten before
    assert mailing.reconcile(yes=True).complete
    assert mailing.send(log).sent == 1
    assert mailing.got() == everybody_once(6) + Counter(["c8@example.org"])


def test_a_loop_ends_at_once_with_a_ledger_that_was_put_back(mailing):
    said = []
    mailing.send(4)
    mailing.back_up()
    mailing.rounds(7, said)
    mailing.put_back()
    with pytest.raises(LedgerError, match="was put back from a backup"):
        mailing.rounds(9, said, count=5)
    assert len(said) == 1
    mailing.reconcile(yes=True)
    mailing.rounds(9, said)
    assert mailing.got() == everybody_once(9)


@pytest.mark.parametrize("is_asked_again", [False, True], ids=["log as it was", "log as it is"])
def test_without_answers_no_mail_decided_until_now_goes_and_later_ones_do(mailing, is_asked_again):
    mailing.send(4)
    mailing.back_up("ledger.sqlite", "answers.sqlite")
    mailing.send(10)
    mailing.put_back("ledger.sqlite", "answers.sqlite")
    done = mailing.reconcile(yes=True)
    assert (done.sent, done.complete) == (0, False)
    assert "of those decided until now none goes" in str(done)
    report = mailing.send(12, **({"log": log_of(12)} if is_asked_again else {}))
    assert (report.sent, report.rows.counts["skipped"]) == (0, 8)
    assert set(report.table["reason"]) == {"unknown_delivery"}
    assert mailing.got() == everybody_once(10)
    late = [{"customer_id": "c12", "event": "sign_up", "at": mailing.now - timedelta(minutes=30)}]
    mailing.now += timedelta(hours=1)
    assert mailing.send(log_of(12, more=late, people=people_of(13))).sent == 1
    assert mailing.got()["c12@example.org"] == 1


def test_a_doubt_of_before_outlives_a_ledger_that_is_put_back_once_more_with_its_answers_whole(mailing):
    mailing.send(4)
    mailing.back_up("ledger.sqlite", "answers.sqlite")
    mailing.send(10)
    mailing.put_back("ledger.sqlite", "answers.sqlite")
    mailing.reconcile(yes=True)  # of six nobody knows any more whether they left
    mailing.back_up()
    late = {"customer_id": "c12", "event": "sign_up", "at": mailing.now - timedelta(minutes=30)}
    mailing.now += timedelta(hours=1)
    assert mailing.send(log_of(0, more=[late], people=people_of(13))).sent == 1
    mailing.put_back()
    done = mailing.reconcile(yes=True)
    assert (done.sent, done.complete) == (1, True)
    report = mailing.send(10)
    assert (report.sent, report.rows.counts["skipped"]) == (0, 6)
    assert mailing.got() == {**everybody_once(10), "c12@example.org": 1}


def test_a_doubt_of_the_backup_that_was_settled_by_sending_again_is_settled_by_the_answers(mailing):
    mailing.server.fault = lambda verb, count, recipient: (
        "drop" if verb == "." and recipient == "c3@example.org" else None
    )
    report = mailing.send(4)
    assert (report.sent, report.unknown) == (3, 1)
    mailing.back_up()
    mailing.server.fault = lambda *asked: None
    with Ledger.open(mailing.ledger) as ledger:
        (doubt,) = ledger.deliveries(state="unknown")["decision_id"]
        ledger.send_again(doubt, by="ben")
    assert mailing.send(6).sent == 3
    mailing.put_back()
    assert mailing.reconcile(yes=True).sent == 3
    with Ledger.open(mailing.ledger) as ledger:
        assert ledger.deliveries(state="unknown").empty
        with pytest.raises(LedgerError, match="is accepted; only an unknown mail can be settled"):
            ledger.send_again(doubt, by="ben")
    assert mailing.send(6).sent == 0
    assert mailing.got() == everybody_once(6)


def test_a_folder_put_back_as_a_whole_is_recognised_by_the_senders_own_mark(mailing, tmp_path):
    mailing.send(4)
    shutil.copytree(mailing.folder, tmp_path / "backup")
    mailing.send(10)
    shutil.rmtree(mailing.folder)
    shutil.copytree(tmp_path / "backup", mailing.folder)
    with pytest.raises(LedgerError, match="was put back from a backup"):
        mailing.send(12)
    assert mailing.got() == everybody_once(10)


def test_a_ledger_is_recognised_by_the_mark_beside_it_where_the_sender_has_no_home(mailing, tmp_path, monkeypatch):
    nowhere = tmp_path / "file"
    nowhere.write_text("")
    mailing.send(4)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(nowhere))
    mailing.send(5)
    mailing.back_up()
    mailing.send(10)
    mailing.put_back()
    with pytest.raises(LedgerError, match="was put back from a backup"):
        mailing.send(12)
    assert mailing.got() == everybody_once(10)


def test_what_a_ledger_learns_from_the_answers_has_the_moment_and_the_step_that_limits_count(mailing):
    def known():
        with Ledger.open(mailing.ledger, clock=mailing.clock) as ledger:
            mails = ledger.deliveries()
            sent = ledger.marketing_of(sorted(mails["customer_id"]))
        columns = ["decision_id", "customer_id", "class", "message_id", "state", "scenario", "step", "decided_at"]
        return mails[columns].sort_values("decision_id", ignore_index=True), sent

    mailing.send(4)
    mailing.back_up()
    mailing.send(6)
    mails, sent = known()
    mailing.put_back()
    mailing.reconcile(yes=True)
    pd.testing.assert_frame_equal(known()[0], mails)
    assert known()[1] == sent
    assert [len(one) for one in sent.values()] == [1] * 6


def test_a_new_ledger_in_the_place_of_one_that_was_lost_is_refused_and_learns_from_the_answers(mailing):
    mailing.send(10)
    for path in mailing.folder.glob("ledger.sqlite*"):
        path.unlink()
    with pytest.raises(LedgerError, match="is not the one from which mails were sent here"):
        mailing.send(12)
    assert mailing.reconcile(yes=True).sent == 10
    assert mailing.send(12).sent == 2
    assert mailing.got() == everybody_once(12)


def test_who_unsubscribed_by_a_mail_that_the_ledger_forgot_is_on_the_list_again_by_the_logs_address(mailing):
    mailing.send(2)
    mailing.back_up()
    mailing.send(6)
    mailing.put_back()
    with Answers.open(mailing.folder / "answers.sqlite") as answers:
        (mails,) = answers.handed_down()
        name = next(one.name for one in mails if one.customer_id == "c5")
        answers.record([Incoming("unsubscribed", 1, mail=name)])
        mailing.reconcile(yes=True, log=log_of(6))
        with Ledger.open(mailing.ledger) as ledger:
            assert set(ledger.deliveries()["address"]) == set(everybody_once(6))
            take_up(ledger, answers)
            assert ledger.suppressions.reason("c5@example.org") == "unsubscribed"


def test_without_a_log_an_address_is_the_last_one_or_unknown_and_then_nobodys(mailing):
    mailing.send(2)
    mailing.back_up()
    mailing.send(6)
    mailing.put_back()
    assert mailing.reconcile(log=log_of(6)).nowhere == 0
    looked = str(mailing.reconcile())
    mailing.reconcile(yes=True)
    assert "of 4 the address is not known, so that an unsubscribe finds none: the log tells it" in looked
    with Answers.open(mailing.folder / "answers.sqlite") as answers, Ledger.open(mailing.ledger) as ledger:
        assert ledger.deliveries()["address"].tolist().count("") == 4
        (mails,) = answers.handed_down()
        answers.record([Incoming("unsubscribed", 1, mail=one.name) for one in mails if one.customer_id == "c5"])
        assert take_up(ledger, answers).suppressed == {}
        assert len(ledger.suppressions) == 0


def test_a_trial_begins_anew_where_somebody_says_so(mailing):
    mailing.send(4)
    for path in mailing.folder.iterdir():
        if path.is_file() and path.suffix != ".key":
            path.unlink()
    with pytest.raises(LedgerError, match="is not the one from which mails were sent here"):
        mailing.send(4)
    assert "is to be taken as it is" in str(mailing.reconcile(forget=True))
    done = mailing.reconcile(forget=True, yes=True)
    assert "what left since goes again where due" in str(done)
    assert mailing.send(4).sent == 4
    assert set(mailing.got().values()) == {2}


def test_the_other_ways_to_send_refuse_it_too(mailing, tmp_path):
    mailing.send(4)
    mailing.back_up()
    mailing.send(10)
    mailing.put_back()
    batch = mailing.prepare(12)
    approval = mailing.approve(batch)
    asked = {"transport": mailing.way, "ledger": mailing.ledger, "clock": mailing.clock}
    with pytest.raises(LedgerError, match="was put back from a backup"):
        start_sending(batch, approval, confirm=len(batch), **asked)
    submit(batch, approval, tmp_path / "spool")
    (folder,) = (tmp_path / "spool").iterdir()
    policy = ApprovalPolicy(approvers={"ana": public_line(signing_key(mailing.key)[0])})
    with pytest.raises(LedgerError, match="was put back from a backup"):
        take_one(folder, policy=policy, **asked)
    assert mailing.got() == everybody_once(10)


def test_a_backup_made_in_the_middle_of_a_sending_leaves_what_it_had_to_send_in_doubt_or_sent(mailing):
    def fault(verb, count, recipient):
        if verb == "." and count == 5:
            mailing.back_up()
        if recipient in ("c10@example.org", "c11@example.org") and verb == "RCPT":
            return "550 no"
        return None

    mailing.server.fault = fault
    report = mailing.send(12)
    assert (report.sent, report.failed) == (10, 2)
    mailing.put_back()
    with pytest.raises(LedgerError, match="was put back from a backup"):
        mailing.send(12)
    done = mailing.reconcile(yes=True)
    assert done.complete
    mailing.server.fault = lambda *asked: None
    assert mailing.send(12).sent == 0
    assert mailing.got() == everybody_once(10)
    with Ledger.open(mailing.ledger) as ledger:
        assert ledger.verify() == ()
        doubts = ledger.deliveries(state="unknown")
        assert set(doubts["customer_id"]) >= {"c10", "c11"} - set(ledger.deliveries(state="failed")["customer_id"])
        for decision in doubts["decision_id"]:
            ledger.send_again(decision, by="ben")
    assert mailing.send(12).sent == len(doubts)


def test_the_mark_rises_while_mails_leave_so_that_a_machine_lost_in_the_middle_is_no_matter(mailing, monkeypatch):
    monkeypatch.setattr("toolkit.sending.sender.sender._RENEW", 0.0)
    seen = []

    def fault(verb, count, recipient):
        if verb == ".":
            seen.append(json.loads((mailing.folder / "ledger.mark").read_text()))

    mailing.server.fault = fault
    mailing.send(12)
    assert len({mark["count"] for mark in seen}) > 2
    assert {mark["begun"] for mark in seen} == {1}
    assert seen == sorted(seen, key=lambda mark: mark["count"])


def test_a_sending_of_which_no_mail_left_leaves_no_mark_that_says_so(mailing):
    mailing.server.fault = lambda verb, count, recipient: "421 not now" if verb == "MAIL" else None
    assert mailing.send(4).sent == 0
    assert not (mailing.folder / "ledger.mark").exists()
    for path in mailing.folder.glob("ledger.sqlite*"):
        path.unlink()
    with pytest.raises(InputError, match="there is none, and no mail is known to have left from there"):
        mailing.reconcile()
    mailing.server.fault = lambda *asked: None
    assert mailing.send(4).sent == 4  # of a ledger that is new there, and of which nobody has to say anything first
    mailing.back_up()
    left = json.loads((mailing.folder / "ledger.mark").read_text())
    mailing.server.fault = lambda verb, count, recipient: "550 no" if verb == "RCPT" else None
    assert mailing.send(6).failed == 2
    assert json.loads((mailing.folder / "ledger.mark").read_text()) == left
    mailing.put_back()
    mailing.server.fault = lambda *asked: None
    assert mailing.send(8).sent == 4
    assert mailing.got() == everybody_once(8)


def test_a_mark_stands_outside_before_the_first_mail_leaves(mailing):
    seen = []

    def fault(verb, count, recipient):
        if verb == ".":
            mark = json.loads((mailing.folder / "ledger.mark").read_text())
            with Answers.open(mailing.folder / "answers.sqlite") as answers:
                seen.append((mark["begun"], answers.noted(f"told of {mark['ledger']}")))

    mailing.server.fault = fault
    mailing.send(1)
    mailing.send(2)
    assert [begun for begun, _ in seen] == [noted for _, noted in seen]
    assert seen[0] < seen[1]


def test_marks_that_are_gone_or_nonsense_a_copy_and_a_rehearsal_stop_nobody(mailing, tmp_path):
    mailing.send(4)
    for path in (*mailing.folder.glob("*.mark"), *tmp_path.glob("config/**/*.mark")):
        path.write_text("nonsense")
    assert mailing.send(5).sent == 1
    for path in (*mailing.folder.glob("*.mark"), *tmp_path.glob("config/**/*.mark")):
        path.unlink()
    assert mailing.send(6).sent == 1
    mailing.back_up()
    (tmp_path / "new").mkdir()
    for name in ("ledger.sqlite", "answers.sqlite", "ledger.key"):
        shutil.copy(mailing.folder / name, tmp_path / "new" / name)
    mailing.ledger = tmp_path / "new" / "ledger.sqlite"
    assert mailing.send(7).sent == 1  # a ledger that was moved
    batch = mailing.prepare(9)
    mailing.ledger = mailing.folder / "ledger.sqlite"
    approval = mailing.approve(batch)
    asked = {"transport": f"outbox:{tmp_path}/out", "confirm": len(batch), "progress": False, "clock": mailing.clock}
    assert send(batch, approval, ledger=mailing.ledger, **asked).sent == 2  # the one left behind, in a rehearsal
    with pytest.raises(LedgerError, match="is an older copy"):
        mailing.send(10)


def test_marks_hold_nobodys_name_and_are_their_owners_alone(mailing, tmp_path):
    mailing.send(2)
    marks = [*mailing.folder.glob("*.mark"), *tmp_path.glob("config/**/*.mark")]
    assert len(marks) == 2
    for path in marks:
        assert path.stat().st_mode & 0o077 == 0
        assert "example.org" not in path.read_text()


def test_a_database_put_back_is_recognised_by_the_machine_that_sent_since(mailing, database, tmp_path, monkeypatch):
    mailing.ledger, again = database
    mailing.send(4)
    again()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "machine"))  # a second one, with the first one's key
    (tmp_path / "machine").mkdir()
    shutil.copytree(tmp_path / "config" / "trigger-toolkit", tmp_path / "machine" / "trigger-toolkit")
    mailing.send(10)
    again()
    with pytest.raises(LedgerError, match="was put back from a backup"):
        mailing.send(12)
    done = mailing.reconcile(yes=True)
    assert not done.complete  # the answers are in the same database, and went back with it
    assert mailing.send(12).rows.counts["skipped"] == 8
    assert mailing.got() == everybody_once(10)


def test_two_machines_that_share_a_database_stop_each_other_in_nothing(mailing, database, tmp_path, monkeypatch):
    mailing.ledger, _ = database
    (tmp_path / "config").mkdir(exist_ok=True)
    for count, home in enumerate(["config", "machine", "config", "machine"], start=1):
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / home))
        if home == "machine" and not (tmp_path / "machine").exists():
            shutil.copytree(tmp_path / "config", tmp_path / "machine")
        assert mailing.send(3 * count).sent == 3
    assert mailing.got() == everybody_once(12)


def test_what_is_said_of_a_reconciliation(noon):
    said = Reconciliation("l.sqlite", None, noon, 2, 1, complete=True, done=False)
    assert str(said).splitlines() == [
        "ledger l.sqlite: knows nothing of what left here; the last mails left about 2026-03-02 12:00:00 UTC",
        "2 mails known to the answers as sent are to be written down as accepted, 1 as in doubt (none of these goes "
        "again by itself)",
        "nothing was changed: `--yes` does it",
    ]


def test_answers_tell_what_was_handed_down_with_the_moment_it_was_sent(mailing):
    mailing.send(3)
    with Answers.open(mailing.folder / "answers.sqlite") as answers:
        (rows,) = answers.handed_down()
    assert sorted(row.customer_id for row in rows) == ["c0", "c1", "c2"]
    assert all(row.sent_at is not None for row in rows)
