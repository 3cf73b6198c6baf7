"""Rate limits, warm-up, canary, domains that rest, alarms: kept in the ledger, shared by every sender."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd
import pytest
from sqlalchemy import select

from toolkit.errors import InputError
from toolkit.sending.clock import micros
from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.ledger.schema import attempts
from toolkit.sending.protocol import Receipt
from toolkit.sending.states import State
from toolkit.sending.transports import transport

LEASE = 30_000_000
WAY = "outbox:/here"


@pytest.fixture
def planned(ledger, entries, run_record):
    def plan(count, **options):
        ledger.plan(run_record(mails=count, **options), entries(count))
        return ledger

    return plan


def _claim(ledger, limit=1000, owner="a"):
    return ledger.claim("run", owner=owner, limit=limit, lease=LEASE)


def _record(ledger, results):
    """Receipts written down; what is deferred may go again at once."""
    ledger.record(results, next_at={row.decision_id: micros(ledger.clock()) for row, _ in results})


def _settle(ledger, rows, state=State.ACCEPTED, **more):
    started = ledger.start(rows)
    _record(ledger, [(row, Receipt(row.decision_id, state, **more)) for row in started])


def test_two_senders_share_one_rate(planned, clock, tmp_path):
    ledger = planned(100)
    ledger.rates.limit(WAY, by="ana", per_second=10)
    with Ledger.open(tmp_path / "ledger.sqlite", clock=clock) as other:
        taken = []
        for _ in range(20):
            clock.forward(milliseconds=100)
            taken += _claim(ledger, owner="a")
            taken += _claim(other, owner="b")
    assert 19 <= len(taken) <= 21
    moment, why = ledger.next_moment("run")
    assert why == "at most 10 mails a second"
    assert moment is not None


def test_a_quiet_hour_saves_up_one_second_of_mails_and_no_more(planned, clock):
    ledger = planned(100)
    ledger.rates.limit(WAY, by="ana", per_second=5)
    clock.forward(hours=1)
    assert len(_claim(ledger)) == 5


def test_what_a_rate_has_saved_up_shortens_the_wait(planned, clock):
    ledger = planned(100)
    ledger.rates.limit(WAY, by="ana", per_second=0.1)
    assert len(_claim(ledger)) == 1
    clock.forward(seconds=4)
    moment, _ = ledger.next_moment("run")
    assert abs(moment - micros(clock()) - 6_000_000) <= 1


def test_each_way_out_has_its_own_limit_and_uses_no_other_up(ledger, entries, run_record, clock):
    for number, (way, per_second) in enumerate([(WAY, 5), ("outbox:/there", 3)]):
        run = run_record(way, mails=10, transport=way)
        ledger.plan(run, entries(10, first=10 * number))
        ledger.rates.limit(way, by="ana", per_second=per_second, per_day=7)
    clock.forward(hours=1)
    assert len(ledger.claim(WAY, owner="a", limit=10, lease=LEASE)) == 5
    assert len(ledger.claim("outbox:/there", owner="b", limit=10, lease=LEASE)) == 3
    clock.forward(seconds=1)
    assert len(ledger.claim("outbox:/there", owner="b", limit=10, lease=LEASE)) == 3
    assert len(ledger.claim(WAY, owner="a", limit=10, lease=LEASE)) == 2


def test_what_was_allowed_and_not_needed_is_given_back(planned, clock, entries, run_record):
    ledger = planned(3)
    ledger.rates.limit(WAY, by="ana", per_day=10)
    assert len(_claim(ledger)) == 3
    assert ledger.rates.table.iloc[0].used_today == 3
    ledger.plan(run_record("more", mails=9), entries(9, first=3))
    assert len(ledger.claim("more", owner="a", limit=50, lease=LEASE)) == 7


def test_a_warm_up_grows_from_day_to_day_and_ends_in_the_lasting_limit(planned, clock):
    ledger = planned(100)
    ledger.rates.limit(WAY, by="ana", warm_up=[2, 5], per_day=7)
    taken = []
    for _ in range(4):
        taken.append(len(_claim(ledger)))
        assert _claim(ledger) == []
        clock.forward(days=1)
    assert taken == [2, 5, 7, 0]  # the approval of the test holds for three days
    row = ledger.rates.table.iloc[0]
    assert (row.per_day, str(row.first_day.date())) == (7, "2026-03-02")


def test_a_warm_up_counts_from_the_day_of_its_first_mail_also_where_that_was_not_used_up(planned, clock):
    ledger = planned(100)
    ledger.rates.limit(WAY, by="ana", per_day=100, warm_up=[10, 30])
    assert len(_claim(ledger, 4)) == 4
    clock.forward(days=1)
    assert len(_claim(ledger)) == 30


def test_the_wait_for_the_next_day_is_said(planned):
    ledger = planned(10)
    ledger.rates.limit(WAY, by="ana", per_day=4)
    _claim(ledger)
    moment, why = ledger.next_moment("run")
    assert pd.Timestamp(moment, unit="us") == pd.Timestamp("2026-03-03")
    assert why == "the limit of 4 mails a day is reached"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"per_second": 0}, "per_second: expected a number above 0"),
        ({"per_day": 0}, "per_day: expected whole numbers from 1"),
        ({"warm_up": [10, -1]}, "warm_up: expected whole numbers from 1"),
        ({"warm_up": 5.5}, r"warm_up: expected whole numbers from 1; found \[5\.5\]"),
        ({"per_day": True}, "per_day: expected whole numbers from 1"),
        ({"per_second": "5"}, "per_second: expected a number above 0; found '5'"),
        ({"per_second": float("inf")}, "per_second: expected a number above 0; found inf"),
    ],
)
def test_a_limit_that_is_none_is_refused(ledger, options, said):
    with pytest.raises(InputError, match=said):
        ledger.rates.limit(WAY, by="ana", **options)


def test_a_limit_holds_for_a_way_out_however_it_is_written(ledger, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for way in ("smtp:mail.example.org", "smtps:mail.example.org", transport("resend:"), "outbox:./out", "my own"):
        ledger.rates.limit(way, by="ana", per_day=5)
    named = ["my own", f"outbox:{tmp_path.resolve()}/out", "resend:smtp.resend.com:465"]
    assert list(ledger.rates.table["transport"]) == [*named, "smtp:mail.example.org:465", "smtp:mail.example.org:587"]
    with pytest.raises(InputError, match="expected smtp:HOST:PORT"):
        ledger.rates.limit("smtp:mail.example.org:many", by="ana", per_day=5)
    with pytest.raises(InputError, match="transport: expected outbox:FOLDER"):
        ledger.rates.limit(None, by="ana", per_day=5)


def test_a_limit_is_in_the_audit(ledger):
    ledger.rates.limit(WAY, by="ana", per_second=3, warm_up=[10])
    line = ledger.audit().iloc[-1]
    assert (line.actor, line.action, line.subject) == ("ana", "limited", WAY)
    assert line.detail == '{"per_day":null,"per_second":3,"warm_up":[10]}'


# --- domains ----------------------------------------------------------------------------------------------------------


def _of_two_domains(entries, count):
    return [
        type(one)(**{**{n: getattr(one, n) for n in one.__slots__}, "address": f"c{n}@{('a', 'b')[n % 2]}.example"})
        for n, one in enumerate(entries(count))
    ]


def test_a_domain_that_says_later_again_and_again_is_left_alone_and_the_others_go_on(
    ledger, clock, entries, run_record
):
    ledger.plan(run_record(mails=40), _of_two_domains(entries, 40))
    rows = _claim(ledger, 12)
    for row in ledger.start(rows):
        bad = row.domain == "a.example"
        receipt = Receipt(row.decision_id, State.DEFERRED if bad else State.ACCEPTED, code=451 if bad else 250)
        _record(ledger, [(row, receipt)])
    (name,) = ledger.rates.resting.domain
    assert name == "a.example"
    assert {row.domain for row in _claim(ledger, 100)} == {"b.example"}
    clock.forward(minutes=90)
    assert {row.domain for row in _claim(ledger, 100)} == {"a.example"}


def test_many_refusals_at_once_are_one_step_and_those_after_the_rest_the_next(planned, clock):
    ledger = planned(90)
    for least, most in ((5, 7), (15, 19), (60, 75)):
        at_once, later = _claim(ledger, 16), _claim(ledger, 4)
        started = ledger.start([*at_once, *later])
        receipts = [(row, Receipt(row.decision_id, State.DEFERRED, code=452)) for row in started]
        _record(ledger, receipts[:16])
        (until,) = ledger.rates.resting.until
        assert timedelta(minutes=least) <= until - clock() < timedelta(minutes=most)
        _record(ledger, receipts[16:])  # these were under way
        assert list(ledger.rates.resting.until) == [until]
        clock.forward(minutes=most)


def test_a_sender_waits_for_a_domain_that_rests_only_when_nothing_else_is_left(ledger, clock, entries, run_record):
    ledger.plan(run_record(mails=40), _of_two_domains(entries, 40))
    now = micros(clock())
    assert ledger.next_moment("run") == (now, "")
    for row in ledger.start(_claim(ledger, 12)):
        bad = row.domain == "a.example"
        receipt = Receipt(row.decision_id, State.DEFERRED if bad else State.ACCEPTED, code=451 if bad else 250)
        _record(ledger, [(row, receipt)])
    assert ledger.next_moment("run") == (now, "")  # those of the other domain
    rest = _claim(ledger, 100)
    until = micros(ledger.rates.resting["until"].iloc[0].to_pydatetime())
    assert ledger.next_moment("run") == (until, "1 domains asked for a rest")
    assert ledger.next_moment("run", patient=False) == (None, "")
    _settle(ledger, rest)
    clock.forward(minutes=90)
    assert ledger.next_moment("run") == (micros(clock()), "")
    _settle(ledger, _claim(ledger, 100))
    assert ledger.next_moment("run") == (None, "")


@pytest.mark.parametrize("words", ["greylisted, come again", "Recipient address rejected: Graylisting in action"])
def test_servers_that_ask_a_stranger_to_come_again_hold_nothing_up(planned, words):
    ledger = planned(60)
    _settle(ledger, _claim(ledger, 40), State.DEFERRED, code=450, reason=f"4.7.1 {words}")
    assert ledger.run_state("run") == "active"
    assert ledger.rates.resting.empty


def test_one_full_mailbox_says_nothing_of_its_domain(planned):
    ledger = planned(20)
    rows = _claim(ledger, 5)
    _settle(ledger, rows, State.DEFERRED, code=452, reason="4.2.2 mailbox full")
    assert ledger.rates.resting.empty
    assert len(_claim(ledger)) == 20


def test_a_domain_that_takes_mail_again_starts_afresh(planned, clock):
    ledger = planned(30)
    for _ in range(2):
        _settle(ledger, _claim(ledger, 1), State.DEFERRED, code=451)
    _settle(ledger, _claim(ledger, 1))
    for _ in range(2):
        _settle(ledger, _claim(ledger, 1), State.DEFERRED, code=451)
    assert ledger.rates.resting.empty


# --- the canary -------------------------------------------------------------------------------------------------------


def test_the_canary_goes_first_and_the_rest_waits_until_the_time_is_over(planned, clock):
    ledger = planned(30, canary=4, canary_wait=60_000_000)
    first = _claim(ledger)
    assert len(first) == 4
    assert _claim(ledger) == []
    _settle(ledger, first)
    assert _claim(ledger) == []
    assert ledger.next_moment("run")[1] == "canary: the first 4 are out, waiting for bounces"
    clock.forward(seconds=59)
    assert _claim(ledger) == []
    clock.forward(seconds=1)
    assert ledger.next_moment("run") == (micros(clock()), "")
    assert len(_claim(ledger)) == 26
    assert list(ledger.audit().action) == ["planned", "canary passed"]


@pytest.mark.parametrize("state", [State.FAILED, State.UNKNOWN])
def test_a_canary_that_goes_wrong_pauses_the_run_and_says_why(planned, clock, state):
    ledger = planned(30, canary=3, canary_wait=60_000_000)
    rows = _claim(ledger)
    _settle(ledger, rows[:2])
    _settle(ledger, rows[2:], state)
    assert _claim(ledger) == []
    clock.forward(minutes=2)
    assert _claim(ledger) == []
    assert ledger.run_state("run") == "paused"
    assert ledger.why("run") == f"paused by canary: of the first 3, 1 {state}"
    ledger.resume("run", by="ana")
    assert len(_claim(ledger)) == 27


# --- alarms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "more", "bad", "said"),
    [
        (State.FAILED, {"code": 550}, 5, "5 of 20 failed"),
        (State.UNKNOWN, {}, 3, "3 of 20 unknown"),
        (State.DEFERRED, {"code": 421, "reason": "4.7.28 rate of spam"}, 3, "3 of 20 refused as a matter of policy"),
    ],
)
def test_a_run_in_which_too_much_goes_wrong_pauses_itself(planned, clock, state, more, bad, said):
    ledger = planned(60)
    rows = _claim(ledger, 20)
    _settle(ledger, rows[bad:])
    assert ledger.run_state("run") == "active"
    _settle(ledger, rows[:bad], state, **more)
    assert ledger.run_state("run") == "paused"
    assert ledger.why("run") == f"paused by sender: {said}"
    assert _claim(ledger) == []
    ledger.resume("run", by="ana", why="it was the blocklist")
    clock.forward(hours=1)  # the domain that refused has had its rest
    assert len(_claim(ledger, 20)) == 20


def test_as_many_failures_as_are_allowed_pause_nothing_and_one_more_does(planned):
    ledger = planned(60)
    rows = _claim(ledger, 26)
    _settle(ledger, rows[5:25])
    _settle(ledger, rows[:5], State.FAILED, code=550)  # a fifth of 25
    assert ledger.run_state("run") == "active"
    _settle(ledger, rows[25:], State.FAILED, code=550)
    assert ledger.run_state("run") == "paused"


def test_a_few_failures_pause_nothing(planned):
    ledger = planned(60)
    rows = _claim(ledger, 40)
    _settle(ledger, rows[4:])
    _settle(ledger, rows[:4], State.FAILED, code=550)
    assert ledger.run_state("run") == "active"


# --- transactional mails in doubt -------------------------------------------------------------------------------------


def test_a_transactional_mail_in_doubt_goes_again_under_the_same_name_and_a_marketing_mail_never(
    ledger, clock, entries, run_record
):
    ledger.plan(run_record(mails=4), entries(2) + entries(2, first=2, class_="transactional"))
    rows = _claim(ledger)
    _settle(ledger, rows, State.UNKNOWN)
    assert [row.decision_id for row in ledger.again("run", wait=1_000_000)] == ["d00002", "d00003"]
    assert _claim(ledger) == []
    clock.forward(seconds=1)
    again = _claim(ledger)
    assert [(row.decision_id, row.message_id) for row in again] == [(r.decision_id, r.message_id) for r in rows[2:]]
    assert set(ledger.deliveries(state="unknown").decision_id) == {"d00000", "d00001"}
    said = ledger.audit()
    assert said.subject[said.action == "sent again"].tolist() == ["d00002", "d00003"]
    assert ledger.verify() == ()


def test_what_was_in_doubt_goes_again_whatever_became_of_others_and_its_run_with_it(ledger, clock, entries, run_record):
    ledger.plan(run_record(mails=3), entries(3, class_="transactional"))
    for _ in range(4):
        _settle(ledger, _claim(ledger), State.UNKNOWN)
        assert len(ledger.again("run", wait=0)) == 3
    _settle(ledger, _claim(ledger), State.UNKNOWN)
    assert ledger.again("run", wait=0) == []  # five times each, none more
    mine, other = run_record("mine", mails=1), run_record("other", mails=1)
    ledger.plan(mine, entries(1, first=5, class_="transactional"))
    ledger.plan(other, entries(1, first=6))
    for run in (mine, other):
        _settle(ledger, ledger.claim(run.id, owner="a", limit=1, lease=LEASE), State.UNKNOWN)
        ledger.finish(run.id, by="ana")
    assert len(ledger.again("mine", wait=0)) == 1
    assert (ledger.run_state("mine"), ledger.run_state("other")) == ("active", "done")
    with ledger.reading() as connection:
        said = connection.execute(select(attempts.c.reason).order_by(attempts.c.id.desc()).limit(1)).scalar()
    assert said == "transactional: sent again"


def test_a_transactional_mail_goes_again_only_while_the_approval_lasts_and_not_for_ever(
    ledger, clock, entries, run_record
):
    ledger.plan(run_record(mails=1), entries(1, class_="transactional"))
    for _ in range(5):
        _settle(ledger, _claim(ledger), State.UNKNOWN)
        ledger.again("run", wait=0)
    assert ledger.deliveries().state.tolist() == ["unknown"]
    ledger.plan(run_record("late", mails=1), entries(1, first=1, class_="transactional"))
    _settle(ledger, ledger.claim("late", owner="a", limit=1, lease=LEASE), State.UNKNOWN)
    clock.forward(hours=73)
    assert ledger.again("late", wait=0) == []
