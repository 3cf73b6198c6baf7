"""Quiet hours hold as a mail leaves, too: what waited for its turn into the evening goes in the morning (rule R15)."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tests.sending.conftest import SetClock
from tests.sending.shops import NOON
from toolkit.engine import replay
from toolkit.events import EventLog
from toolkit.sending import ApprovalPolicy, Ledger, Phase, approve, send, serve, start_sending, submit
from toolkit.sending.batch.parcel import Stub
from toolkit.sending.clock import from_micros, micros
from toolkit.sending.keys import new_key, public_line, signing_key
from toolkit.sending.sender.quiet import QuietHours

QUIET = {"from": "13:00", "to": "15:30"}  # all mails are decided at nine and prepared at noon


@pytest.fixture
def clock(noon):
    return SetClock(noon)


@pytest.fixture
def calm(shop, make_program, make_log, make_people):
    """A batch of the shop under quiet hours; the first of its customers have these time zones."""

    def go(*zones, scenario=None, quiet=QUIET, **options):
        people = make_people(12).assign(timezone=[*zones, *[None] * (12 - len(zones))])
        program = make_program(*([] if scenario is None else [scenario]), quiet=quiet)
        return shop.prepare(log=make_log(12, people=people), program=program, **options)

    return go


@pytest.fixture
def sending(shop, clock, tmp_path):
    """Sends a batch by the clock; approved at noon."""

    def go(batch, way=f"outbox:{tmp_path}/outbox", how=send, **options):
        approval = shop.approve(batch, clock=lambda: batch.now)
        options = {"transport": way, "confirm": len(batch), "ledger": tmp_path / "ledger.sqlite", **options}
        if how is send:
            options["progress"] = False
        return how(batch, approval, clock=clock, **options)

    return go


@pytest.mark.parametrize(
    ("waited", "sent"),
    [({"minutes": 59}, 12), ({"hours": 1}, 0), ({"hours": 3, "minutes": 29}, 0), ({"hours": 3, "minutes": 30}, 12)],
)
def test_a_mail_whose_turn_comes_in_quiet_hours_waits_for_their_end(shop, calm, sending, clock, waited, sent):
    clock.forward(**waited)
    batch = calm()
    report = sending(batch)
    assert (report.sent, report.waiting, len(shop.mails())) == (sent, 12 - sent, sent)
    if sent:
        return
    assert "waiting 12: 12 held by quiet hours, to go from 2026-03-02 15:30 UTC on" in str(report)
    assert set(report.table["reason"]) == {"quiet_hours"}
    clock.now = batch.now + timedelta(hours=3, minutes=30)
    assert (sending(batch).sent, len(shop.mails())) == (12, 12)


def test_quiet_hours_are_those_of_each_customer(calm, sending, clock):
    clock.forward(hours=2)
    report = sending(calm("Europe/Paris", "America/New_York", "Asia/Tokyo", "no/zone"))
    went = report.table.set_index("customer_id")["outcome"] == "sent"
    assert sorted(went[went].index) == ["c1", "c2"]  # three in the afternoon in Paris is still quiet
    assert report.waiting == 10


def test_a_limit_that_holds_mails_into_the_evening_keeps_them_for_the_morning(calm, sending, clock, smtp_server):
    def later(verb, number, recipient):
        if (verb, number) == (".", 4):
            clock.forward(hours=2)

    server = smtp_server(fault=later, extensions=["PIPELINING"])
    report = sending(calm(), f"smtp:127.0.0.1:{server.port}?connections=1")
    assert (report.sent, report.waiting, report.skipped) == (4, 8, 0)
    clock.forward(hours=2)
    assert sending(calm(), f"smtp:127.0.0.1:{server.port}?connections=1").sent == 8
    people = [recipient for _, recipient, _ in server.taken]
    assert len(people) == len(set(people)) == 12


def test_a_mail_that_the_server_postponed_into_quiet_hours_waits_for_their_end(calm, sending, clock, smtp_server):
    server = smtp_server(
        fault=lambda verb, number, recipient: "451 greylisted" if verb == "RCPT" and number <= 5 else None
    )
    batch, way = calm(), f"smtp:127.0.0.1:{server.port}?connections=2"
    assert sending(batch, way).waiting == 5
    clock.forward(hours=2)
    report = sending(batch, way)
    assert (report.sent, report.waiting) == (0, 5)
    assert "5 held by quiet hours" in str(report)
    clock.forward(hours=2)
    assert (sending(batch, way).sent, len(server.taken)) == (5, 12)


def test_transactional_mail_knows_no_quiet_hours(calm, sending, clock, shop):
    receipt = """
scenario: welcome
class: transactional
trigger: {event: sign_up}
reentry: once
steps:
  - {wait: 1h}
  - {id: hello, send: welcome/hello}
"""
    text = shop.templates / "welcome" / "hello.mjml"
    text.write_text(
        "<mjml><mj-body><mj-section><mj-column><mj-text>Hello {{ customer.first_name }}, you signed up."
        "</mj-text></mj-column></mj-section></mj-body></mjml>",
        encoding="utf-8",
    )
    words = text.with_suffix(".txt")
    words.write_text(words.read_text("utf-8").partition("{% if")[0], encoding="utf-8")
    clock.forward(hours=2)
    assert sending(calm(scenario=receipt)).sent == 12


def test_a_scenarios_own_quiet_hours_replace_the_programs(calm, sending, clock):
    own = """
scenario: welcome
trigger: {event: sign_up}
reentry: once
quiet: {from: "20:00", to: "06:00"}
steps:
  - {wait: 1h}
  - {id: hello, send: welcome/hello}
"""
    clock.forward(hours=2)
    assert sending(calm(scenario=own)).sent == 12


def test_held_mails_leave_spread_out(calm, sending, clock, tmp_path):
    batch = calm(quiet={**QUIET, "spread": "30m"})
    clock.forward(hours=2)
    sending(batch)
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        moments = [from_micros(row.next_at) for row in ledger.rows(list(batch.table["decision_id"]))]
    end = batch.now + timedelta(hours=3, minutes=30)
    assert all(end <= one < end + timedelta(minutes=30) for one in moments)
    assert len(set(moments)) == 12
    clock.now = end + timedelta(minutes=15)
    assert 0 < sending(batch).sent == sum(one <= clock.now for one in moments) < 12


@pytest.mark.parametrize(("hour", "outcome"), [(8, ("sent", None)), (13, ("skipped", "quiet_expired"))])
def test_a_mail_that_quiet_hours_would_hold_for_more_than_three_days_is_skipped(calm, sending, clock, hour, outcome):
    clock.now = datetime(2026, 3, 5, 8, tzinfo=UTC)  # 71 hours after the decision
    batch = calm(now=clock(), window="72h")
    clock.now = clock.now.replace(hour=hour)
    report = sending(batch)
    assert set(report.table[["outcome", "reason"]].itertuples(index=False, name=None)) == {outcome}


def test_a_job_waits_for_the_morning_and_goes_on(shop, calm, sending, clock):
    clock.forward(hours=2)
    job = sending(calm("America/New_York"), how=start_sending, canary=3, canary_wait="1m")
    try:
        end = time.monotonic() + 20
        while not (job.progress.phase is Phase.WAITING and "quiet hours" in job.progress.note):
            assert time.monotonic() < end
            time.sleep(0.005)
        assert (job.progress.sent, job.progress.deferred) == (1, 11)
        clock.forward(hours=1, minutes=30)
        end = time.monotonic() + 20
        while job.progress.sent < 3:  # the canary, of which those that were held are no part
            assert time.monotonic() < end
            time.sleep(0.005)
        clock.forward(minutes=2)
        report = job.wait(20)
    finally:
        job.stop()
    assert (report.sent, report.waiting, len(shop.mails())) == (12, 0, 12)


def test_a_rehearsal_of_another_day_is_not_held(calm, sending, clock):
    batch = calm()
    clock.now = batch.now + timedelta(hours=50)
    assert clock().hour == 14
    assert sending(batch).sent == 12


def test_the_sender_of_another_user_goes_by_the_zones_that_were_approved(calm, clock, noon, tmp_path):
    key = new_key(tmp_path / "ana.pem")
    policy = ApprovalPolicy(approvers={"ana": public_line(signing_key(key)[0])})
    batch = calm("Asia/Tokyo")
    folder = submit(batch, approve(batch, by="ana", key=key, clock=lambda: noon), tmp_path / "spool")
    clock.forward(hours=2)
    lines = []
    options = {"transport": f"outbox:{tmp_path}/out", "ledger": tmp_path / "sender.sqlite", "policy": policy}
    serve(tmp_path / "spool", once=True, say=lines.append, clock=clock, **options)
    assert "sent 1, already sent 0, skipped 0, unknown 0, failed 0, waiting 11: 11 held by quiet hours" in lines[0]
    audience = folder / "audience.jsonl"
    audience.write_text(audience.read_text("utf-8").replace("Asia/Tokyo", "Asia/Seoul"), encoding="utf-8")
    serve(tmp_path / "spool", once=True, say=lines.append, clock=clock, **options)
    assert "refused: " in lines[-1]


ZONES = ["Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca", None, "x/y"]


class OneMail:
    """A parcel of one mail to a customer of that name, in that zone."""

    def __init__(self, name, zone, rules):
        self.now, self.rules = NOON, rules
        self._stub = Stub(*[""] * 7, 0, *[""] * 8)._replace(
            customer_id=name, scenario="welcome", step="hello", timezone=zone or ""
        )

    def stub(self, number):
        return self._stub


@pytest.mark.parametrize(
    "hours",
    [("22:00", "08:00", "30m"), ("01:00", "02:30", "0m"), ("22:00", "02:30", "1h")],
    ids=["night", "small hours", "to the gap"],
)
def test_they_are_the_same_hours_as_in_a_replay(make_program, hours):
    quiet = dict(zip(("from", "to", "spread"), hours, strict=True))
    at_once = """
scenario: welcome
trigger: {event: go}
reentry: every
steps:
  - {id: hello, send: welcome/hello}
"""
    program = make_program(at_once, quiet=quiet, timezone="America/Santiago")
    random, count = np.random.default_rng(7), 700
    nights = pd.to_datetime(["2026-03-08", "2026-03-29", "2026-04-05", "2026-10-25", "2026-11-01"], utc=True)
    at = nights[random.integers(len(nights), size=count)] + pd.to_timedelta(random.integers(-40, 40, count), unit="h")
    at += pd.to_timedelta(random.integers(3_600, size=count), unit="s")
    names = [f"c{number}" for number in range(count)]
    zones = [ZONES[number] for number in random.integers(len(ZONES), size=count)]
    people = pd.DataFrame({"customer_id": names, "email": "a@example.org", "consent": True, "timezone": zones})
    log = EventLog.from_pandas(pd.DataFrame({"customer_id": names, "event": "go", "at": at}), customers=people)
    decided = replay(program, log, until=at.max() + pd.Timedelta(days=2)).decisions.set_index("customer_id")["at"]
    held = 0
    for name, zone, moment in zip(names, zones, at, strict=True):
        mail = OneMail(name, zone, program)
        asked = QuietHours(mail, SimpleNamespace(rehearsal=False), SetClock(moment.to_pydatetime()))
        asked.add(mail.stub(0))
        until = asked.until(0)
        held += until is not None
        assert micros(decided[name]) == (micros(moment) if until is None else until), (name, zone, moment)
    assert 20 < held < count


def test_where_the_clock_is_put_back_over_their_end_they_still_end_ahead(make_program):
    mail = OneMail("c1", "America/New_York", make_program(quiet={"from": "22:00", "to": "01:30"}))
    again = datetime(2026, 11, 1, 6, 10, tzinfo=UTC)  # ten past one, for the second time in this night
    asked = QuietHours(mail, SimpleNamespace(rehearsal=False), SetClock(again))
    asked.add(mail.stub(0))
    assert asked.until(0) == micros(again + timedelta(minutes=20))
