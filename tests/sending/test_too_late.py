"""A mail whose offer is over does not leave any more, however long it waited for its turn after it was approved."""

from __future__ import annotations

import threading
import time

import pytest
from sqlalchemy import select

from tests.sending.conftest import SetClock
from toolkit.sending import ApprovalPolicy, Ledger, Phase, approve, send, serve, start_sending, submit
from toolkit.sending.clock import from_micros
from toolkit.sending.keys import new_key, public_line, signing_key
from toolkit.sending.ledger.schema import deliveries

OFFER = """
scenario: welcome
trigger: {event: sign_up}
reentry: once
steps:
  - {wait: 1h}
  - {id: hello, send: welcome/hello, offer: {percent: 10, valid: 6h}}
"""  # decided at nine, so that it is over at three


@pytest.fixture
def clock(noon):
    return SetClock(noon)


@pytest.fixture
def sale(shop, make_program):
    return lambda **options: shop.prepare(program=make_program(OFFER), **options)


@pytest.fixture
def sending(shop, clock, tmp_path):
    """Sends a batch by the clock; approved at noon."""

    def go(batch, way=f"outbox:{tmp_path}/outbox", **options):
        approval = shop.approve(batch, clock=lambda: batch.now)
        options = {"transport": way, "confirm": len(batch), "ledger": tmp_path / "ledger.sqlite", **options}
        return send(batch, approval, progress=False, clock=clock, **options)

    return go


def noon_at(clock, hour, minute):
    return clock().replace(hour=hour, minute=minute)


def _reasons(report):
    return set(report.table[["outcome", "reason"]].itertuples(index=False, name=None))


@pytest.mark.parametrize(("waited", "sent"), [({"hours": 2, "minutes": 59}, 12), ({"hours": 3}, 0), ({"hours": 8}, 0)])
def test_an_offer_that_ended_after_the_approval_keeps_its_mail_here(shop, sale, sending, clock, waited, sent, tmp_path):
    batch = sale(ledger=tmp_path / "ledger.sqlite")
    clock.forward(**waited)
    report = sending(batch)
    assert (report.sent, report.skipped, len(shop.mails())) == (sent, 12 - sent, sent)
    if not sent:
        assert _reasons(report) == {("expired", "too_late")}
        assert sale(ledger=tmp_path / "ledger.sqlite", now=clock()).skipped == {"too_late": 12}
        assert str(sending(batch)) == str(report)


def test_mails_without_an_offer_have_all_the_time_of_their_approval(shop, sending, clock):
    batch = shop.prepare()
    clock.forward(hours=20)
    assert sending(batch).sent == 12


def test_a_rehearsal_of_a_past_day_goes_by_the_moment_it_was_prepared_for(sale, sending, clock):
    batch = sale()
    clock.forward(hours=30)
    assert sending(batch).sent == 12


def test_an_offer_that_ends_while_the_mails_leave_keeps_those_that_have_not_begun(sale, sending, clock, smtp_server):
    def ends(verb, number, recipient):
        if (verb, number) == (".", 4):
            clock.forward(hours=4)

    server = smtp_server(fault=ends, extensions=["PIPELINING"])
    report = sending(sale(), f"smtp:127.0.0.1:{server.port}?connections=1")
    assert (report.sent, report.skipped, report.waiting) == (4, 8, 0)
    assert len(server.taken) == 4
    assert set(report.table["outcome"]) == {"sent", "expired"}


def test_two_senders_at_once_mail_nobody_twice_and_nobody_after_the_end(
    sale, sending, clock, smtp_server, make_log, tmp_path
):
    def ends(verb, number, recipient):
        if (verb, number) == (".", 30):
            clock.forward(hours=4)

    server = smtp_server(fault=ends, extensions=["PIPELINING"])
    batch, way = sale(log=make_log(90)), f"smtp:127.0.0.1:{server.port}?connections=3"
    reports = []
    senders = [threading.Thread(target=lambda: reports.append(sending(batch, way))) for _ in range(2)]
    for one in senders:
        one.start()
    for one in senders:
        one.join(60)
    people = [recipient for _, recipient, _ in server.taken]
    assert len(people) == len(set(people)) == sum(one.sent for one in reports)
    assert 30 <= len(people) <= 30 + 2 * 3  # one more a connection had begun
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.deliveries()["state"].value_counts().to_dict() == {
            "accepted": len(people),
            "expired": 90 - len(people),
        }
        assert ledger.verify() == ()


def test_mails_that_the_server_postponed_past_their_offer_are_not_tried_again(sale, sending, clock, smtp_server):
    server = smtp_server(
        fault=lambda verb, number, recipient: "451 greylisted" if verb == "RCPT" and number <= 5 else None
    )
    batch, way = sale(), f"smtp:127.0.0.1:{server.port}?connections=2"
    first = sending(batch, way)
    assert (first.sent, first.waiting) == (7, 5)
    clock.forward(hours=3)
    again = sending(batch, way)
    assert (again.sent, again.already_sent, again.skipped, again.waiting) == (0, 7, 5, 0)
    assert len(server.taken) == 7


def test_a_mail_that_the_server_postpones_is_tried_once_more_before_its_offer_ends_and_then_told_as_too_late(
    sale, sending, clock, smtp_server, make_log, tmp_path
):
    server = smtp_server(fault=lambda verb, number, recipient: "450 greylisted" if verb == "RCPT" else None)
    batch, way = sale(log=make_log(1)), f"smtp:127.0.0.1:{server.port}"
    clock.forward(hours=2, minutes=50)
    for minutes in (2, 6):  # after a minute, then after five: the offer ends ten minutes from now
        assert sending(batch, way).waiting == 1
        clock.forward(minutes=minutes)
    assert sending(batch, way).waiting == 1
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger, ledger.reading() as connection:
        at = connection.execute(select(deliveries.c.next_at)).scalar_one()
    assert from_micros(at) == noon_at(clock, 14, 59)
    clock.forward(minutes=1)
    report = sending(batch, way)
    assert _reasons(report) == {("expired", "too_late")}  # no attempt in time is left, and nobody waits for one
    assert (report.waiting, clock() < noon_at(clock, 15, 0)) == (0, True)
    clock.forward(minutes=-1)
    server.fault = lambda *asked: None
    assert sending(batch, way).sent == 0


def test_a_job_that_waits_for_its_canary_sees_the_offer_end(shop, sale, clock, tmp_path):
    batch = sale()
    approval = shop.approve(batch, clock=lambda: batch.now)
    ledger, options = tmp_path / "ledger.sqlite", {"transport": f"outbox:{shop.outbox}", "confirm": 12, "canary": 4}
    job = start_sending(batch, approval, ledger=ledger, clock=clock, **options)
    try:
        end = time.monotonic() + 20
        while job.progress.phase is not Phase.WAITING:
            assert time.monotonic() < end
            time.sleep(0.005)
        clock.forward(hours=4)
        report = job.wait(20)
    finally:
        job.stop()
    assert (report.sent, report.skipped, report.waiting) == (4, 8, 0)


def test_the_sender_of_another_user_looks_at_what_was_approved(shop, sale, clock, noon, tmp_path):
    key = new_key(tmp_path / "ana.pem")
    policy = ApprovalPolicy(approvers={"ana": public_line(signing_key(key)[0])})
    batch = sale()
    folder = submit(batch, approve(batch, by="ana", key=key, clock=lambda: noon), tmp_path / "spool")
    clock.forward(hours=5)
    lines = []
    options = {"transport": f"outbox:{tmp_path}/out", "ledger": tmp_path / "sender.sqlite", "policy": policy}
    serve(tmp_path / "spool", once=True, say=lines.append, clock=clock, **options)
    assert lines == [f"{folder.name}: sent 0, already sent 0, skipped 12, unknown 0, failed 0"]
    with Ledger.open(tmp_path / "sender.sqlite") as ledger:
        assert set(ledger.deliveries()["reason"]) == {"too_late"}
