"""A large batch: each mail is read as seldom as can be, and Ctrl-C is heard within moments, whatever is being done."""

from __future__ import annotations

import signal
from collections import Counter
from dataclasses import replace

import pytest
from email_validator import EmailNotValidError, validate_email

from toolkit.engine import Run
from toolkit.errors import LedgerError
from toolkit.sending import Ledger, Outbox, delivery, send, start_sending
from toolkit.sending.batch.batch import Batch
from toolkit.sending.keys import MailKey
from toolkit.sending.ledger import ledger as ledgers
from toolkit.sending.ledger import renamed_decisions
from toolkit.sending.preparation import drafts, preparation
from toolkit.sending.sender import sender as senders
from toolkit.sending.sender.sender import Sender
from toolkit.sending.spool import Spool, Store
from toolkit.sending.stopping import interruptible, look
from toolkit.tracking import Answers

PARTS = ("telling the tracker", "into the ledger", "the gate", "the report", "telling the tracker what was sent")


@pytest.fixture
def batch(shop):
    return shop.prepare()


@pytest.fixture
def sent(shop):
    def call(batch, approval=None, **options):
        options.setdefault("transport", f"outbox:{shop.outbox}")
        return send(batch, approval or shop.approve(batch), **{"confirm": len(batch), "progress": False, **options})

    return call


class Gone:
    """Ctrl-C while Python cleans up behind an object, where it drops whatever is raised."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)


def _counted(monkeypatch, owner, name):
    """How often a method is called from now on, by what it was given."""
    calls, method = [], getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda self, *given, **more: calls.append(given) or method(self, *given, **more))
    return calls


# --- heard ------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_that_python_drops_is_heard_at_the_next_look():
    came = []

    @interruptible("Call it again.")
    def work():
        Gone()
        came.append("went on")
        look()
        came.append("not heard")

    with pytest.raises(KeyboardInterrupt) as raised:
        work()
    assert came == ["went on"]
    assert raised.value.__notes__ == ["Call it again."]
    look()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_that_is_dropped_while_mails_are_rendered_ends_the_preparing(shop, monkeypatch):
    check, kept = preparation.preflight, _counted(monkeypatch, Spool, "add")

    def interrupted(*given, **options):
        kept.clear()
        Gone()
        return check(*given, **options)

    monkeypatch.setattr(preparation, "preflight", interrupted)
    with pytest.raises(KeyboardInterrupt) as raised:
        shop.prepare()
    assert not kept
    assert raised.value.__notes__ == ["Nothing was prepared, nor lost: call prepare again."]


@pytest.mark.parametrize(
    ("step", "note"),
    [
        ("approve", "Nothing was approved, nor lost: call approve again."),
        ("send", "No mail left by this call. Nothing is lost: call send again."),
    ],
)
def test_ctrl_c_while_every_mail_is_looked_at_says_how_to_go_on(shop, batch, sent, monkeypatch, step, note):
    approval, audience = shop.approve(batch), Batch._audience
    with monkeypatch.context() as patch:
        patch.setattr(Batch, "_audience", lambda *mail: signal.raise_signal(signal.SIGINT) or audience(*mail))
        with pytest.raises(KeyboardInterrupt) as raised:
            shop.approve(batch) if step == "approve" else sent(batch, approval)
    assert raised.value.__notes__ == [note]
    assert sent(batch, approval).sent == 12


@pytest.mark.parametrize("part", PARTS)
def test_ctrl_c_is_heard_in_every_part_of_a_sending_which_goes_on_and_mails_nobody_twice(
    shop, batch, sent, monkeypatch, part
):
    approval, step = shop.approve(batch), Sender._step

    def interrupted(self, words, count):
        if words == part:
            signal.raise_signal(signal.SIGINT)
        step(self, words, count)

    with monkeypatch.context() as patch:
        patch.setattr(Sender, "_step", interrupted)
        with pytest.raises(KeyboardInterrupt) as raised:
            sent(batch, approval)
    came = len(shop.mails())
    assert came == (12 if PARTS.index(part) > 2 else 0)
    (note,) = raised.value.__notes__
    assert note.startswith("sent 12, already sent 0" if came else "no mail left by this call.")
    assert note.endswith("Nothing is lost: call send again to go on.")
    report = sent(batch, approval)
    assert (report.sent, report.already_sent) == (12 - came, came)
    with Ledger.open(shop.outbox / "ledger.sqlite") as ledger, Answers.open(shop.outbox / "answers.sqlite") as answers:
        assert ledger.verify() == ()
        assert sorted(answers.events.event) == ["email_sent"] * 12


def test_who_stops_a_large_sending_waits_for_no_look_at_each_mail(shop, batch, sent, monkeypatch):
    looked = _counted(monkeypatch, ledgers.Ledger, "rows")

    class Stopping(Outbox):
        def _write(self, mail):
            signal.raise_signal(signal.SIGINT)
            return super()._write(mail)

    with pytest.raises(KeyboardInterrupt) as raised:
        sent(batch, transport=Stopping(shop.outbox))
    came = len(shop.mails())
    assert raised.value.__notes__[0].startswith(f"sent {came}, already sent 0, skipped 0, unknown 0, failed 0, waiting")
    assert 0 < came < 12
    assert not looked


def test_a_job_that_is_stopped_while_it_plans_ends_with_a_report(shop, batch, sent, monkeypatch):
    approval, step = shop.approve(batch), Sender._step

    def stopped(self, words, count):
        if words == "the gate":
            self.stop.set()
        step(self, words, count)

    with monkeypatch.context() as patch:
        patch.setattr(Sender, "_step", stopped)
        job = start_sending(batch, approval, transport=f"outbox:{shop.outbox}", confirm=12)
        report = job.wait(20)
    assert (report.sent, report.waiting, report.state, job.progress.phase) == (0, 12, "active", "stopped")
    assert sent(batch, approval).sent == 12


# --- told -------------------------------------------------------------------------------------------------------------


def test_each_part_of_a_sending_is_told_with_how_far_it_is(shop, batch):
    looks = []
    job = start_sending(batch, shop.approve(batch), transport=f"outbox:{shop.outbox}", confirm=12)
    job.observe(looks.append)
    job.wait(20)
    told = [(look.phase, look.note) for look in looks if look.looked_at is not None]
    assert [note for _, note in dict.fromkeys(told)][-2:] == ["telling the tracker what was sent", "the report"]


def test_the_bar_of_a_sending_names_its_parts(shop, batch, sent, capsys):
    sent(batch, progress=True)
    shown = capsys.readouterr().err
    for part in ("planning, telling the tracker:", "planning, into the ledger:", "sending:", "closing, the report:"):
        assert part in shown


def test_preparing_many_names_what_it_does(shop, monkeypatch, capsys):
    monkeypatch.setattr(preparation, "_SOME", 5)
    shop.prepare(progress=True)
    shown = capsys.readouterr().err
    assert "replay of the log" not in shown  # a small one takes no longer than a moment
    for part in ("what was sent before", "what was sent under another name", "who is due", "what happened since"):
        assert f"{part}: " in shown


def test_the_replay_of_a_long_log_is_named_while_it_runs(shop, monkeypatch, capsys):
    monkeypatch.setattr(preparation, "_MANY_EVENTS", 5)
    shop.prepare(progress=True)
    shown = capsys.readouterr().err
    assert shown.index("replay of the log:   0%") < shown.index("what is due:  50%")


# --- read as seldom as can be -----------------------------------------------------------------------------------------


def test_the_bytes_of_a_mail_are_read_to_be_checked_and_to_leave_and_not_to_be_planned(shop, batch, sent, monkeypatch):
    approval = shop.approve(batch)
    reads, read = Counter(), Spool.__getitem__

    def counted(self, number):
        reads[number] += self is batch.spool
        return read(self, number)

    monkeypatch.setattr(Spool, "__getitem__", counted)
    assert sent(batch, approval).sent == 12
    assert reads == dict.fromkeys(range(12), 2)


def test_a_mail_that_changes_after_the_check_does_not_leave(shop, batch, sent, monkeypatch):
    check = delivery.check_approvals

    def checked_and_then_changed(*given, **options):
        check(*given, **options)
        at = batch.spool._memory.index(b"Name0")
        batch.spool._memory[at : at + 5] = b"Eve00"

    monkeypatch.setattr(delivery, "check_approvals", checked_and_then_changed)
    with pytest.raises(LedgerError, match="it is not the mail approved"):
        sent(batch)
    assert shop.mails() == []


def test_a_letter_is_named_once_and_its_draft_read_once_to_be_prepared(shop, monkeypatch):
    named = _counted(monkeypatch, MailKey, "message_id")
    monkeypatch.setattr(MailKey, "mail_name", None)
    read = _counted(monkeypatch, Store, "__getitem__")
    batch = shop.prepare()
    assert sorted(named) == sorted((mail.letter.decision_id,) for mail in batch.mails)
    singles = [place for (place,) in read if not isinstance(place, slice)]
    # Each draft once, within its stretch; each mail once, when it is hashed; and again for this test.
    assert len(singles) == 3 * 12


def test_mails_in_another_run_are_counted_without_looking_at_all_others(shop, batch, sent, monkeypatch):
    first = shop.prepare(scenarios=["welcome"], shares=range(12))
    assert 0 < len(first) < 12
    sent(first)
    monkeypatch.setattr(senders, "_COUNTED", 0.0)
    monkeypatch.setattr(senders, "_TOLD", 0.0)
    monkeypatch.setattr(senders, "_SELDOM", 0)
    looked = _counted(monkeypatch, ledgers.Ledger, "rows")
    assert sent(batch).already_sent == len(first)
    asked = [len(decisions) for (decisions,) in looked]
    assert asked[0] == 12  # which are elsewhere
    assert asked[-1] == 12  # the report
    assert set(asked[1:-1]) == {len(first)}


# --- as long for each mail of many as of few --------------------------------------------------------------------------


def test_what_set_journeys_off_is_looked_up_once_however_many_stretches_of_letters_there_are(shop, monkeypatch):
    monkeypatch.setattr(preparation, "_SOME", 2)
    stretches = _counted(monkeypatch, Run, "properties_at")
    lookups = _counted(monkeypatch, Run, "trigger_rows")
    assert len(shop.prepare()) == 12
    assert (len(stretches), len(lookups)) == (6, 1)


def test_the_log_is_read_through_a_set_number_of_times_however_many_mails_there_are(shop, monkeypatch):
    monkeypatch.setattr(preparation, "_SOME", 1)
    monkeypatch.setattr(preparation, "_LOOKS", 3)
    looks, attributes = [], drafts.attributes_of
    monkeypatch.setattr(
        drafts, "attributes_of", lambda log, some, **more: looks.append(len(some)) or attributes(log, some, **more)
    )
    assert len(shop.prepare()) == 12
    assert looks == [4, 4, 4]


def test_mails_under_other_names_are_looked_for_some_rows_at_a_time_and_all_are_found(
    ledger, entries, run_record, make_program, monkeypatch
):
    named = [replace(one, scenario="welcome", step="hello") for one in entries(10)]
    again = [replace(one, decision_id=f"x{n}", message_id=f"x{n}@example.com") for n, one in enumerate(named)]
    ledger.plan(run_record("first"), named)
    ledger.plan(run_record("second"), again)
    whole = renamed_decisions.planned_twice(ledger, make_program(), "second")
    monkeypatch.setattr(renamed_decisions, "_AT_ONCE", 3)
    steps = []
    assert renamed_decisions.planned_twice(ledger, make_program(), "second", steps.append) == whole
    assert sorted(whole) == [f"x{n}" for n in range(10)]
    assert steps == [0, 3, 6, 9]


@pytest.mark.parametrize(
    "address",
    [
        "ana@example.org",
        " Ana.B+shop@Example.ORG ",
        "a-b_c@bücher.example",
        "a..b@example.org",
        ".a@example.org",
        "a@example",
        "a@-x.example",
        "a@",
        "@example.org",
        "a@b@example.org",
        f"{'a' * 65}@example.org",
        "a'b@example.org",
        f"a@{'b' * 60}.{'c' * 200}.org",
        "jörg@example.org",
        "a@exa mple.org",
        "a.@example.org",
        "A@xn--bcher-kva.example",
    ],
)
def test_an_address_is_what_the_library_makes_of_it_whether_its_domain_was_met_before_or_not(address):
    try:
        wanted = validate_email(address.strip(), check_deliverability=False, allow_smtputf8=False).normalized
    except EmailNotValidError:
        wanted = None
    assert [drafts.address_of(address) for _ in range(2)] == [wanted, wanted]
