"""An approved batch goes out once, whatever happens on the way."""

from __future__ import annotations

import errno
import inspect
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
import tqdm.auto

from tests.sending.shops import WELCOME, log_of, people_of
from toolkit.errors import ApprovalError, InputError, LedgerError, NotSupportedError, PreflightError, TransportError
from toolkit.scenario import loads
from toolkit.sending import Ledger, Outbox, Receipt, State, delivery, send, start_sending, transport
from toolkit.sending.sender.progress import Phase, Progress


@pytest.fixture
def batch(shop):
    return shop.prepare()


@pytest.fixture
def sent(shop):
    """Sends a batch to the shop's outbox."""

    def go(batch, approval=None, **options):
        options.setdefault("transport", f"outbox:{shop.outbox}")
        options.setdefault("confirm", len(batch))
        return send(batch, approval or shop.approve(batch), progress=False, **options)

    return go


def _ledger(shop):
    return Ledger.open(shop.outbox / "ledger.sqlite")


class Wrapped:
    """An outbox to which something happens on the way; it cannot testify unless told to."""

    rehearsal = True
    ledger = None

    def __init__(self, outbox, on_receipt=None, *, at_once=4):
        self.outbox = outbox
        self.outbox.at_once = at_once
        self.on_receipt = on_receipt
        self.at_once = at_once
        self.seen = 0

    @property
    def name(self):
        return f"wrapped:{self.outbox.name}"

    def deliver(self, mails, start) -> Iterator[Receipt]:
        for receipt in self.outbox.deliver(mails, start):
            self.seen += 1
            changed = self.on_receipt(self.seen, receipt) if self.on_receipt else receipt
            if changed is not None:
                yield changed


class Seeing(Wrapped):
    """The same, and it can testify."""

    def find(self, decision_ids):
        return self.outbox.find(decision_ids)


# --- the good way -----------------------------------------------------------------------------------------------------


def test_each_mail_becomes_one_file_and_the_second_call_writes_none(shop, batch, sent):
    approval = shop.approve(batch)
    report = sent(batch, approval)
    assert str(report) == "sent 12, already sent 0, skipped 0, unknown 0, failed 0"
    assert shop.mails() == sorted(f"{name}.eml" for name in batch.table.decision_id)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in shop.outbox.glob("*.eml")}
    again = sent(batch, approval)
    assert str(again) == ("sent 0, already sent 12, skipped 0, unknown 0, failed 0: nobody was mailed twice")
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in shop.outbox.glob("*.eml")} == before


def test_a_notebook_run_again_from_the_top_mails_no_one_and_says_so(shop, sent):
    first = shop.prepare()
    sent(first, confirm=12)
    second = shop.prepare()
    report = sent(second, confirm=12)  # typed, not computed
    assert str(report).endswith("already sent 12, skipped 0, unknown 0, failed 0: nobody was mailed twice")
    assert len(shop.mails()) == 12


def test_only_what_is_new_goes_when_more_is_due_later(shop, noon, make_log, make_people, sent):
    sent(shop.prepare())
    more = [{"customer_id": f"c{n}", "event": "sign_up", "at": noon - timedelta(minutes=30)} for n in range(12, 15)]
    later = shop.prepare(now=noon + timedelta(hours=1), log=make_log(people=make_people(15), more=more))
    report = sent(later)
    assert str(report) == "sent 3, already sent 12, skipped 0, unknown 0, failed 0"
    assert len(shop.mails()) == 15


def test_the_files_are_the_approved_bytes(shop, batch, sent):
    sent(batch)
    for mail in batch.mails:
        assert (shop.outbox / f"{mail.letter.decision_id}.eml").read_bytes() == batch.spool[mail.number]


def test_an_empty_batch_is_fine_and_says_so(shop, noon, sent):
    report = sent(shop.prepare(now=noon - timedelta(days=30)))
    assert str(report) == (
        "sent 0, already sent 0, skipped 0, unknown 0, failed 0: the batch is empty, no mail was due"
    )
    assert shop.mails() == []


def test_the_report_and_the_ledger_tell_the_same(shop, batch, sent):
    report = sent(batch)
    assert list(report.table.columns[:3]) == ["decision_id", "customer_id", "address"]
    assert set(report.table.outcome) == {"sent"}
    assert set(report.table.address) == {"c***@example.org"}
    with _ledger(shop) as ledger:
        row = ledger.status().iloc[0]
        assert (row.accepted, row.done, row.says, row.approved_by) == (12, True, "done", "ana")
        assert list(ledger.audit().action) == ["planned", "done"]
        assert report.audit == ledger.audit_head()
        assert ledger.verify() == ()
    assert "through outbox:" in report._repr_html_()
    assert "sent" in report.details()


def test_an_approval_of_mails_that_went_under_another_one_has_none_of_its_own(shop, batch, sent):
    assert sent(batch).sent == 12
    assert sent(batch, shop.approve(batch, expires="1h")).already_sent == 12
    with _ledger(shop) as ledger:
        assert list(ledger.status()["says"]) == ["done", "done, 12 in other runs"]


def test_without_a_ledger_named_the_record_is_kept_in_the_outbox(shop):
    batch = shop.prepare(ledger=None)
    assert batch.ledger is None
    report = send(batch, shop.approve(batch), confirm=12, progress=False)
    assert report.ledger == str(shop.folder / "outbox" / "ledger.sqlite")
    assert shop.prepare(ledger=None).skipped == {"already sent": 12}


def test_one_ledger_for_two_outboxes_lets_no_mail_go_through_both(shop, sent):
    batch = shop.prepare(ledger=shop.folder / "one.sqlite")
    sent(batch, transport="outbox:./first")
    report = sent(batch, transport="outbox:./second")
    assert report.already_sent == 12
    assert not (shop.folder / "second").exists()


def test_a_lost_ledger_does_not_write_over_the_outbox(shop, batch, sent):
    sent(batch)
    for path in shop.outbox.glob("ledger.sqlite*"):
        path.unlink()
    report = sent(batch)
    assert (report.sent, report.already_sent) == (0, 12)


def test_a_file_taken_out_of_the_outbox_is_not_sent_again(shop, batch, sent):
    sent(batch)
    (shop.outbox / shop.mails()[0]).unlink()
    assert sent(batch).already_sent == 12
    assert len(shop.mails()) == 11


def test_the_next_batch_says_what_changed_since_the_last_approval(shop, noon, make_log, make_people, sent):
    more = [{"customer_id": f"c{n}", "event": "sign_up", "at": noon - timedelta(minutes=30)} for n in range(12, 15)]
    log = make_log(people=make_people(15), more=more)
    first = shop.prepare(log=log)
    assert "since the approval" not in str(first.summary())
    sent(first)
    later = noon + timedelta(hours=1)
    said = str(shop.prepare(log=log, now=later).summary())
    assert re.search(r"since the approval by ana of \d{4}-\d\d-\d\d: nothing changed but the audience", said)
    path = shop.templates / "welcome" / "hello.txt"
    path.write_text(path.read_text().replace("Welcome", "Hello"))
    said = str(shop.prepare(log=log, now=later).summary())
    assert "templates: changed welcome/hello; files: changed welcome/hello.txt" in said


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("confirm", [0, 11, 13, None, "12"])
def test_a_wrong_count_is_refused_and_the_right_one_said(shop, batch, sent, confirm):
    with pytest.raises(InputError, match=r"but the batch has 12 mails; nothing was sent"):
        sent(batch, confirm=confirm)
    assert shop.mails() == []


def test_a_batch_goes_over_one_ledger(shop, smtp_server, noon, tmp_path):
    server, now = smtp_server(), lambda: noon
    batch = shop.prepare()
    approval = shop.approve(batch, clock=now)
    options = {"transport": f"smtp:127.0.0.1:{server.port}?security=none", "confirm": 12, "clock": now}
    other = tmp_path / "other.sqlite"
    assert send(batch, approval, ledger=other, progress=False, **options).sent == 12
    for how, more in ((send, {"progress": False}), (start_sending, {})):
        with pytest.raises(InputError, match=r"12 mails of this batch left over ledger .* they would go twice"):
            how(batch, approval, **options, **more)
    assert str(send(batch, approval, ledger=other, progress=False, **options)).endswith("nobody was mailed twice")
    (tmp_path / "third").mkdir()
    later = shop.prepare(ledger=tmp_path / "third" / "ledger.sqlite")
    signed = shop.approve(later, clock=now)
    assert send(later, signed, progress=False, **options).sent == 12
    with pytest.raises(InputError, match="they would go twice"):
        send(later, signed, ledger=tmp_path / "fourth.sqlite", progress=False, **options)
    rehearsed = send(batch, approval, transport=f"outbox:{shop.outbox}", confirm=12, progress=False, clock=now)
    assert (rehearsed.sent, len(server.taken)) == (12, 24)  # a rehearsal reaches nobody


def test_a_batch_goes_through_one_way_out_over_one_ledger_also_where_two_are_named(shop, smtp_server, noon, tmp_path):
    server, now = smtp_server(), lambda: noon
    batch = shop.prepare(ledger=None)
    approval = shop.approve(batch, clock=now)
    way = f"smtp:127.0.0.1:{server.port}?security=none"

    def sent(ledger, way=way):
        asked = {"transport": way, "confirm": 12, "ledger": tmp_path / ledger, "progress": False, "clock": now}
        delivery._sent_over.clear()  # as in another process
        return send(batch, approval, **asked)

    assert sent("one.sqlite").sent == 12
    with pytest.raises(InputError, match=r"12 mails of this batch left over ledger .*one\.sqlite; .* go twice:"):
        sent("two.sqlite")
    shutil.copy(tmp_path / "one.sqlite", tmp_path / "copy.sqlite")
    assert sent("copy.sqlite").already_sent == 12
    trial = smtp_server()
    assert sent("trial.sqlite", f"smtp:127.0.0.1:{trial.port}?security=none").sent == 12
    assert (len(server.taken), len(trial.taken)) == (12, 12)
    for name in ("one.sqlite", "copy.sqlite"):
        (tmp_path / name).write_text("no ledger any more")
    assert sent("trial.sqlite", f"smtp:127.0.0.1:{trial.port}?security=none").already_sent == 12


def test_whoever_names_no_count_is_told_to(shop, batch):
    with pytest.raises(InputError, match=r"confirm= is to say how many mails you expect, but the batch has 12 mails;"):
        send(batch, shop.approve(batch), transport=f"outbox:{shop.outbox}", progress=False)
    assert shop.mails() == []


def test_yes_is_no_count_of_one_mail(shop, make_log):
    one = shop.prepare(log=make_log(1))
    with pytest.raises(InputError, match="confirm=True, but the batch has 1 mail;"):
        send(one, shop.approve(one), transport=f"outbox:{shop.outbox}", confirm=True, progress=False)


def test_who_has_another_address_by_now_is_not_mailed_at_the_old_one(shop, batch, sent, make_log, make_people):
    people = make_people(12)
    people.loc[3, "email"] = "new@example.org"
    report = sent(batch, log=make_log(people=people))
    assert (report.sent, report.skipped) == (11, 1)
    with Ledger.open(shop.outbox / "ledger.sqlite") as ledger:
        mail = ledger.deliveries(customer="c3").iloc[0]
        assert (mail.state, mail.reason, mail.address) == ("skipped", "no_address", "c3@example.org")


@pytest.mark.parametrize("log", ["data/shop", 5])
def test_what_is_no_log_is_refused_before_anything_is_sent(shop, batch, sent, log):
    with pytest.raises(InputError, match=r"log: found .*; allowed: an EventLog.*; nothing was sent"):
        sent(batch, log=log)
    assert shop.mails() == []


def test_what_is_no_batch_and_no_way_out_is_refused_in_words(shop, batch):
    with pytest.raises(InputError, match=r"send: batch: expected what tk\.prepare gives; found NoneType"):
        send(None, shop.approve(batch), confirm=12)
    with pytest.raises(InputError, match=r"approve: batch: expected what tk\.prepare gives; found list"):
        shop.approve([batch])
    for way in (None, 5):
        with pytest.raises(InputError, match=f"transport: expected outbox:FOLDER.* or a transport; found {way}"):
            send(batch, shop.approve(batch), transport=way, confirm=12)


@pytest.mark.parametrize("seconds", ["nan", "inf", "0", "-1"])
def test_a_patience_without_an_end_is_refused(seconds):
    with pytest.raises(InputError, match="smtp: expected a host, a port and a time above zero"):
        transport(f"smtp:mail.example.org?timeout={seconds}")


def test_an_approval_for_another_batch_is_refused(shop, batch, noon, sent):
    other = shop.approve(shop.prepare(now=noon + timedelta(minutes=1)))
    with pytest.raises(ApprovalError, match="is for another batch"):
        sent(batch, other)
    assert shop.mails() == []


def test_what_is_no_approval_is_refused(shop, batch):
    for nothing in (None, []):
        with pytest.raises(ApprovalError, match="no approval was given; nothing was sent"):
            send(batch, nothing, transport=f"outbox:{shop.outbox}", confirm=len(batch))
    for found in ("ap.json", 7, [shop.approve(batch), batch]):
        with pytest.raises(ApprovalError, match=r"approval: found (str|int|Batch); allowed: what approve\(batch, "):
            send(batch, found, transport=f"outbox:{shop.outbox}", confirm=len(batch))
    assert shop.mails() == []


def test_an_approval_that_is_over_is_refused(shop, batch, sent):
    approval = shop.approve(batch, clock=lambda: datetime.now(UTC) - timedelta(hours=73))
    with pytest.raises(ApprovalError, match="over since"):
        sent(batch, approval)
    assert shop.mails() == []


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda folder: (folder / "welcome" / "hello.txt").write_text("subject: x"), "changed: welcome/hello.txt"),
        (lambda folder: (folder / "welcome" / "hello.mjml").unlink(), "gone: welcome/hello.mjml"),
        (lambda folder: (folder / "welcome" / "hello.fr.mjml").write_text("x"), "added: welcome/hello.fr.mjml"),
    ],
)
def test_a_template_edited_after_the_approval_voids_it_and_is_named(shop, batch, sent, edit, said):
    approval = shop.approve(batch)
    edit(shop.templates)
    with pytest.raises(ApprovalError, match=rf"(?s)differ from those approved; nothing was sent.*{re.escape(said)}"):
        sent(batch, approval)
    assert shop.mails() == []


def test_one_changed_byte_in_a_template_is_enough(shop, batch, sent):
    approval = shop.approve(batch)
    path = shop.templates / "welcome" / "hello.mjml"
    path.write_bytes(path.read_bytes().replace(b"Hello", b"Hallo", 1))
    with pytest.raises(ApprovalError, match=r"changed: welcome/hello\.mjml"):
        sent(batch, approval)
    path.write_bytes(path.read_bytes().replace(b"Hallo", b"Hello", 1))
    assert sent(batch, approval).sent == 12


def test_a_way_out_that_is_not_there_yet_is_refused_before_anything_else(shop, batch, sent):
    with pytest.raises(NotSupportedError, match="transport 'brevo:' is not there yet"):
        sent(batch, transport="brevo:")


def test_mails_of_a_past_day_go_to_an_outbox_and_not_to_people(shop, batch, sent):
    class Reaching(Wrapped):
        rehearsal = False

    way = Reaching(Outbox(shop.outbox))
    later = datetime(2026, 3, 4, tzinfo=UTC)
    signed = shop.approve(batch, clock=lambda: later)
    with pytest.raises(ApprovalError, match=r"prepared for 2026-03-02 12:00 UTC, over a day from now"):
        sent(batch, signed, transport=way, clock=lambda: later)
    assert shop.mails() == []


def test_a_way_out_without_a_ledger_of_its_own_asks_for_one(shop, sent):
    batch = shop.prepare(ledger=None)
    with pytest.raises(InputError, match=r"has no ledger of its own; name one: prepare\(..., ledger="):
        sent(batch, transport=Wrapped(Outbox(shop.outbox)))


def test_a_row_of_the_ledger_tampered_with_is_refused_and_named(shop, batch, sent):
    first = Wrapped(Outbox(shop.outbox), _interrupt_at(1))
    approval = shop.approve(batch)
    with pytest.raises(KeyboardInterrupt):
        sent(batch, approval, transport=first)
    with _ledger(shop) as ledger, ledger._writing() as connection:
        waiting = connection.exec_driver_sql("SELECT decision_id FROM delivery WHERE state = 'planned'").scalar()
        connection.exec_driver_sql(f"UPDATE delivery SET address = 'thief@example.net' WHERE decision_id = '{waiting}'")
    with pytest.raises(LedgerError, match=f"{waiting} was tampered with: not as approved are address"):
        sent(batch, approval, transport=first)
    assert not (shop.outbox / f"{waiting}.eml").exists()


# --- on the way -------------------------------------------------------------------------------------------------------


def test_someone_suppressed_between_approval_and_sending_is_not_mailed(shop, batch, sent):
    approval = shop.approve(batch)
    with _ledger(shop) as ledger:
        ledger.suppressions.add("C3@Example.org", by="ben", reason="unsubscribed")
    report = sent(batch, approval)
    assert str(report) == "sent 11, already sent 0, skipped 1, unknown 0, failed 0"
    row = report.table.set_index("customer_id").loc["c3"]
    assert (row.outcome, row.reason) == ("suppressed", "unsubscribed")
    assert len(shop.mails()) == 11
    assert shop.prepare().skipped == {"already sent": 11, "suppressed": 1}


def _interrupt_at(number):
    def on_receipt(seen, receipt):
        if seen == number:
            raise KeyboardInterrupt
        return receipt

    return on_receipt


@pytest.mark.parametrize("number", [1, 4, 5, 12])
def test_an_interrupted_sending_says_how_far_it_came_and_goes_on_where_it_stopped(shop, batch, sent, number):
    approval = shop.approve(batch)
    with pytest.raises(KeyboardInterrupt) as raised:
        sent(batch, approval, transport=Seeing(Outbox(shop.outbox), _interrupt_at(number)))
    came = len(shop.mails())
    (note,) = raised.value.__notes__
    assert note.startswith(f"sent {came}, already sent 0, skipped 0, unknown 0, failed 0")
    assert note.endswith("Nothing is lost: call send again to go on.")
    report = sent(batch, approval, transport=Seeing(Outbox(shop.outbox)))
    assert (report.sent, report.already_sent) == (12 - came, came)
    assert len(shop.mails()) == 12
    with _ledger(shop) as ledger:
        assert ledger.verify() == ()


def test_a_kernel_restarted_after_an_interrupt_sends_the_rest(shop, batch, sent):
    with pytest.raises(KeyboardInterrupt):
        sent(batch, transport=Seeing(Outbox(shop.outbox), _interrupt_at(5)))
    came = len(shop.mails())
    afresh = shop.prepare()
    assert (len(afresh), afresh.skipped) == (12 - came, {"already sent": came})
    assert sent(afresh).sent == 12 - came
    assert len(shop.mails()) == 12


def test_where_nobody_can_tell_an_interrupted_mail_is_unknown_and_never_sent_again(shop, batch, sent):
    approval = shop.approve(batch)
    way = Wrapped(Outbox(shop.outbox), _interrupt_at(2), at_once=1)
    with pytest.raises(KeyboardInterrupt) as raised:
        sent(batch, approval, transport=way)
    assert "unknown 1" in raised.value.__notes__[0]
    report = sent(batch, approval, transport=Wrapped(Outbox(shop.outbox)))
    assert str(report) == "sent 10, already sent 1, skipped 0, unknown 1, failed 0"
    with _ledger(shop) as ledger:
        assert ledger.status().iloc[0].says == "done, 1 unknown"
        (lost,) = ledger.deliveries(state="unknown").decision_id
        ledger.assume_sent(lost, by="ana", why="the file is there")
        assert ledger.status().iloc[0].says == "done"


def test_a_full_disk_stops_the_sending_and_loses_nothing(shop, batch, sent):
    class Full(Outbox):
        def _write(self, mail):
            if len(shop.mails()) == 7:
                raise TransportError(f"outbox: {errno.errorcode[errno.ENOSPC]}")
            return super()._write(mail)

    approval = shop.approve(batch)
    with pytest.raises(TransportError, match="ENOSPC") as raised:
        sent(batch, approval, transport=Full(shop.outbox))
    assert raised.value.__notes__[0].startswith("sent 7, already sent 0, skipped 0, unknown 0, failed 0, waiting 5")
    report = sent(batch, approval)
    assert (report.sent, report.already_sent, len(shop.mails())) == (5, 7, 12)


def test_a_refused_mail_is_counted_and_not_tried_again(shop, batch, sent):
    def refuse(seen, receipt):
        return Receipt(receipt.decision_id, State.FAILED, code=550, reason="no such user") if seen == 3 else receipt

    approval = shop.approve(batch)
    report = sent(batch, approval, transport=Wrapped(Outbox(shop.outbox), refuse))
    assert str(report) == "sent 11, already sent 0, skipped 0, unknown 0, failed 1"
    assert "no such user" in report._repr_html_()
    assert sent(batch, approval).failed == 1


def test_a_postponed_mail_is_said_to_wait_and_tried_again_a_minute_later(shop, batch, sent):
    def postpone(seen, receipt):
        return Receipt(receipt.decision_id, State.DEFERRED, code=451) if seen == 3 else receipt

    now = datetime.now(UTC)
    approval, way = shop.approve(batch), Wrapped(Outbox(shop.outbox), postpone)
    report = sent(batch, approval, transport=way)
    counts, _, why = str(report).partition("waiting 1: ")
    assert counts == "sent 11, already sent 0, skipped 0, unknown 0, failed 0, "
    again = re.fullmatch(r"1 postponed by the other side, to go again from (.+) UTC on", why)
    wait = datetime.fromisoformat(f"{again[1]}+00:00") - now
    assert timedelta(seconds=-30) < wait < timedelta(minutes=3)
    assert sent(batch, approval, transport=way, clock=lambda: now + timedelta(seconds=50)).waiting == 1
    report = sent(batch, approval, transport=way, clock=lambda: now + timedelta(minutes=2))
    assert str(report) == "sent 0, already sent 12, skipped 0, unknown 0, failed 0: nobody was mailed twice"


def test_a_batch_with_findings_cannot_come_this_far(shop, sent):
    path = shop.templates / "welcome" / "hello.txt"
    path.write_text(path.read_text().replace("customer.first_name", "customer.nothing"))
    with pytest.raises(PreflightError):
        sent(shop.prepare())
    assert shop.mails() == []


ORDERED = """
scenario: welcome
trigger: {event: ordered}
key: order_id
reentry: every
exit_on: [{event: delivered, match: order_id}]
steps: [{wait: 1h}, {id: hello, send: welcome/hello}]
"""
TWIN = """
scenario: twin
trigger: {event: sign_up}
reentry: once
steps: [{wait: 1h}, {id: hello, send: welcome/hello}]
"""


def test_who_has_had_enough_from_a_batch_prepared_at_the_same_time_is_skipped_at_the_gate(
    shop, sent, make_program, noon
):
    caps = [{"limit": 1, "per": "7d", "scope": "marketing"}]
    first = shop.prepare(program=make_program(caps=caps))
    second = shop.prepare(program=make_program(TWIN, caps=caps))
    assert (len(first), len(second)) == (12, 12)  # neither knew of the other
    assert sent(first).sent == 12
    report = sent(second)
    assert (report.sent, report.skipped) == (0, 12)
    assert set(report.table.reason) == {"cap"}
    assert len(shop.mails()) == 12
    assert sent(first).already_sent == 12


def test_the_log_read_again_says_whose_address_is_another_and_which_of_two_orders_is_over(
    shop, sent, make_program, noon
):
    orders = [
        {"customer_id": "c1", "event": "ordered", "at": noon - timedelta(hours=4), "order_id": number}
        for number in ("A", "B")
    ]
    program = make_program(ORDERED)
    batch = shop.prepare(program=program, log=log_of(12, more=orders))
    assert len(batch) == 2
    over = {"customer_id": "c1", "event": "delivered", "at": noon - timedelta(minutes=1), "order_id": "A"}
    bounced = {"customer_id": "c1", "event": "email_bounced", "at": noon - timedelta(minutes=1)}
    moved = people_of(12)
    moved.loc[1, "email"] = "new@example.org"
    found = {}
    for name, more, people in (("over", [over], None), ("moved", [], moved), ("bounced", [bounced], None)):
        log = log_of(12, more=[*orders, *more], people=people)
        options = {"ledger": f"{name}.sqlite", "transport": f"outbox:{name}", "log": log}
        found[name] = sorted(sent(batch, **options).table["reason"].fillna(""))
    assert found == {"over": ["", "exited"], "moved": ["no_address"] * 2, "bounced": ["suppressed"] * 2}


def test_a_mail_that_stays_behind_at_the_gate_takes_no_place_under_a_cap_from_another(shop, sent, make_program, noon):
    caps = [{"limit": 2, "per": "7d", "scope": "marketing"}]
    scenarios = loads(f"{WELCOME}---{TWIN.replace('twin', 'zwin')}").scenarios  # of one moment, the first by name first
    first = shop.prepare(program=make_program(scenarios, caps=caps))
    second = shop.prepare(program=make_program(TWIN, caps=caps))
    assert (len(first), len(second)) == (24, 12)
    assert sent(second).sent == 12
    bought = {"customer_id": "c1", "event": "purchase", "at": noon - timedelta(minutes=1), "revenue": 60.0}
    table = sent(first, log=log_of(12, more=[bought])).table
    assert len(table) == 24
    theirs = table[table["customer_id"] == "c1"].set_index("scenario")
    assert theirs["reason"].fillna("").to_dict() == {"welcome": "exited", "zwin": ""}
    others = table[table["customer_id"] != "c1"]
    assert others.groupby("scenario")["outcome"].unique().map(list).to_dict() == {
        "welcome": ["sent"],
        "zwin": ["skipped"],
    }


@pytest.mark.parametrize("shown", [True, False])
def test_no_sending_waits_for_the_lock_of_progress_bars_that_forked_processes_share(shop, batch, shown, monkeypatch):
    class Held:
        """As a process leaves it that was killed while it held the lock: only that this one does not wait for ever."""

        def acquire(self, *args, **kwargs):
            raise AssertionError("waits for ever")

        __enter__ = acquire

    approval = shop.approve(batch)
    monkeypatch.setattr(tqdm.auto.tqdm, "_lock", Held(), raising=False)
    report = send(batch, approval, transport=f"outbox:{shop.outbox}", confirm=12, progress=shown)
    assert report.sent == 12


def test_the_speed_shown_is_of_sending_alone(monkeypatch):
    shown = []
    sender = SimpleNamespace(total=1000, progress=Progress(Phase.PLANNING, 1000))
    with delivery._bar(sender, shown=True):
        bar = inspect.getclosurevars(sender.tell).nonlocals["bar"]
        assert bar.desc.startswith("planning")
        monkeypatch.setattr(bar, "start_t", bar.start_t - 3600)  # planning took an hour
        monkeypatch.setattr(bar, "refresh", lambda: shown.append(bar.format_dict))
        sender.tell(Progress(Phase.SENDING, 1000, already_sent=500, waiting=500))
        sender.tell(Progress(Phase.SENDING, 1000, already_sent=500, sent=100, waiting=400))
    last = shown[-1]
    assert (last["n"], last["initial"]) == (600, 500)
    assert last["elapsed"] < 600
