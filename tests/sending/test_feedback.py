"""What providers report settles doubts, suppresses addresses and sounds alarms, and each report counts once."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from toolkit.errors import InputError
from toolkit.sending import Feedback
from toolkit.sending.protocol import Receipt
from toolkit.sending.states import State

LEASE = 30_000_000


@pytest.fixture
def sent(ledger, entries, run_record):
    """So many mails out, the last of them in doubt."""

    def go(count, doubts=0):
        ledger.plan(run_record(mails=count + 5), entries(count + 5))
        rows = ledger.start(ledger.claim("run", owner="a", limit=count, lease=LEASE))
        states = [State.ACCEPTED] * (count - doubts) + [State.UNKNOWN] * doubts
        ledger.record([(row, Receipt(row.decision_id, state)) for row, state in zip(rows, states, strict=True)])
        return ledger

    return go


def _report(number, event, clock, **more):
    return Feedback("ses", f"{event} {number}", event, clock(), message_id=f"<m{number:05d}@example.com>", **more)


@pytest.mark.parametrize(
    ("event", "more", "state"),
    [
        ("email_delivered", {}, "accepted"),
        ("email_opened", {}, "accepted"),
        ("email_bounced", {"bounce_type": "hard"}, "failed"),
        ("email_bounced", {"bounce_type": "soft"}, "unknown"),
    ],
)
def test_a_report_settles_a_mail_in_doubt(sent, clock, event, more, state):
    ledger = sent(3, doubts=1)
    ledger.report_events([_report(2, event, clock, **more)])
    assert ledger.deliveries().state[2] == state
    assert ledger.verify() == ()


def test_the_same_report_twice_counts_once(sent, clock):
    ledger = sent(3)
    report = _report(0, "email_bounced", clock, bounce_type="hard")
    assert str(ledger.report_events([report])) == "new 1, known 0, mails settled 0, addresses suppressed 1"
    assert str(ledger.report_events([report, report])) == "new 0, known 2, mails settled 0, addresses suppressed 0"
    of_another = replace(report, provider="postmark", message_id="<m00001@example.com>")
    assert str(ledger.report_events([of_another])) == "new 1, known 0, mails settled 0, addresses suppressed 1"


@pytest.mark.parametrize(
    ("event", "more", "marketing", "transactional"),
    [
        ("email_bounced", {"bounce_type": "hard"}, "suppressed", "suppressed"),
        ("email_bounced", {"bounce_type": "soft"}, None, None),
        ("email_complained", {}, "unsubscribed", None),
        ("email_unsubscribed", {}, "unsubscribed", None),
        ("email_delivered", {}, None, None),
    ],
)
def test_who_bounced_or_complained_gets_no_more_of_it(sent, clock, event, more, marketing, transactional):
    ledger = sent(3)
    ledger.report_events([_report(1, event, clock, **more)])
    assert ledger.suppressions.reason("c1@example.org") == marketing
    assert ledger.suppressions.reason("c1@example.org", class_="transactional") == transactional


@pytest.mark.parametrize("first", ["email_unsubscribed", "email_complained", "email_bounced"])
def test_an_address_that_left_and_whose_mailbox_is_gone_gets_nothing_in_either_order(sent, clock, first):
    ledger = sent(3)
    other = "email_unsubscribed" if first == "email_bounced" else "email_bounced"
    ledger.report_events([_report(1, first, clock), _report(1, other, clock)])
    for class_ in ("marketing", "transactional"):
        assert ledger.suppressions.reason("c1@example.org", class_=class_) == "suppressed"
    assert sorted(ledger.suppressions.table["scope"]) == ["all", "marketing"]


def test_a_bounce_loop_ends_in_suppressed_and_pauses_the_run(sent, clock):
    ledger = sent(20)
    reports = [_report(number, "email_bounced", clock, bounce_type="hard") for number in range(3)]
    ledger.report_events(reports)
    assert ledger.why("run") == "paused by sender: 3 of 20 bounced"
    ledger.resume("run", by="ana")
    ledger.report_events([Feedback("dsn", "x", "email_bounced", clock(), address="c21@example.org")])
    claimed = ledger.claim("run", owner="a", limit=10, lease=LEASE)
    assert [row.address for row in claimed] == [f"c{n}@example.org" for n in (20, 22, 23, 24)]
    assert ledger.deliveries(state="suppressed").address.tolist() == ["c21@example.org"]


def test_complaints_pause_a_run(sent, clock):
    ledger = sent(30)
    ledger.report_events([_report(number, "email_complained", clock) for number in range(3)])
    assert ledger.why("run") == "paused by sender: 3 of 30 complained"


def test_a_report_about_nobody_we_know_is_kept_and_does_no_harm(ledger, clock):
    taken = ledger.report_events([_report(7, "email_delivered", clock), _report(7, "email_whatever", clock)])
    assert (taken.new, taken.settled) == (1, 0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bounce_type": "Soft"}, "bounce_type: found 'Soft'; allowed: hard or soft"),
        ({"event": "bounced"}, "event: found 'bounced'; allowed: email_sent, .*did you mean 'email_bounced'"),
        ({"at": datetime.fromisoformat("2026-03-02")}, "at needs a time zone; found"),
    ],
)
def test_a_bounce_of_another_type_or_without_a_time_zone_suppresses_nobody(sent, clock, change, said):
    ledger = sent(2)
    good = _report(0, "email_bounced", clock, bounce_type="hard")
    with pytest.raises(InputError, match=said):
        ledger.report_events([good, replace(good, event_id="other", **change)])
    assert len(ledger.suppressions) == 0
    with pytest.raises(InputError, match="expected a Feedback; found dict"):
        ledger.report_events([{"event": "email_bounced"}])


def test_a_state_that_is_none_names_the_nearest(ledger):
    with pytest.raises(InputError, match=r"state: found 'unkown'; allowed: planned, .*did you mean 'unknown'"):
        ledger.deliveries(state="unkown")
