"""A standing approval lets the mails of scenarios go as they are, within limits that the ledger counts."""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import timedelta

import pandas as pd
import pytest

from tests.sending.shops import NOON, people_of
from toolkit.errors import ApprovalError, InputError
from toolkit.events import EventLog
from toolkit.sending import StandingApproval, approve_standing, load_approval, send
from toolkit.sending.ledger.ledger import Ledger

OFFER = """
scenario: welcome
trigger: {event: sign_up}
reentry: once
steps:
  - {wait: 1h}
  - {id: hello, send: welcome/hello, offer: {%s}}
"""


@pytest.fixture
def standing(shop, noon):
    def make(**options):
        options = {"by": "ana", "mails_a_day": 100, "clock": lambda: noon, **options}
        return approve_standing(options.pop("program", shop.program), shop.templates, **options)

    return make


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"by": " "}, "by: expected the name of who approves; found ' '"),
        ({"by": None}, "by: expected the name of who approves; found None"),
        ({"author": 5}, "author: expected the name of a person; found 5"),
        ({"mails_a_day": True}, "mails_a_day: expected a whole number from 1; found True"),
        ({"discount_a_day": "5"}, "discount_a_day: expected 0 or more; found '5'"),
        ({"discount_a_day": float("inf")}, "discount_a_day: expected 0 or more; found inf"),
        ({"expires": "0h"}, "expires: expected a time above zero, for example 30d; found '0h'"),
        ({"expires": "-5h"}, "expires: expected a time above zero"),
        ({"scenarios": []}, "scenarios: none is named; there are welcome"),
        ({"scenarios": "welcom"}, "no scenario 'welcom'; there are welcome; did you mean 'welcome'"),
    ],
)
def test_what_cannot_be_approved_is_refused_in_words(standing, options, said):
    with pytest.raises(InputError, match=re.escape(said)):
        standing(**options)


def test_a_batch_after_it_is_held_against_the_last_approval_of_a_batch(shop, noon, standing, sent, make_log):
    sent(shop.prepare(), standing())
    later = shop.prepare(log=make_log(20), now=noon + timedelta(minutes=1))
    assert later.previous is None
    assert "8 mails due" in str(later.summary())


def test_one_scenario_may_be_named_without_a_list(standing):
    assert standing(scenarios="welcome").scenarios == ("welcome",)


@pytest.mark.parametrize(("name", "value"), [("mails_a_day", "many"), ("version", None), ("discount_a_day", "5")])
def test_a_file_with_a_value_of_the_wrong_kind_holds_no_standing_approval(standing, tmp_path, name, value):
    path = tmp_path / "standing.json"
    path.write_text(json.dumps(standing().document() | {name: value}))
    with pytest.raises(ApprovalError, match="is not a standing approval: a value of the wrong kind"):
        load_approval(path)


def _worth(values):
    events = pd.DataFrame({"customer_id": [f"c{n}" for n in range(len(values))], "value": values})
    return EventLog.from_pandas(events.assign(event="sign_up", at=NOON - timedelta(hours=4)), customers=people_of(12))


def test_a_return_below_zero_makes_no_room_under_the_limit_of_discounts(shop, standing, sent, make_program):
    program = make_program(OFFER % "percent: 10")
    batch = shop.prepare(program=program, log=_worth([-50_000.0, 100.0, 100.0]))
    assert sorted(batch.discount(number) for number in range(3)) == [0.0, 10.0, 10.0]
    assert "-" not in str(batch.summary().lines[1])
    report = sent(batch, standing(program=program, discount_a_day=10))
    assert report.sent == 2


def test_a_worth_told_in_words_is_not_known(shop, make_program):
    batch = shop.prepare(program=make_program(OFFER % "percent: 10"), log=_worth(["twelve", "30"]))
    assert sorted(map(str, (batch.discount(number) for number in range(2)))) == ["3.0", "None"]


@pytest.fixture
def sent(shop, noon):
    def go(batch, approval, later=0):
        way = f"outbox:{shop.outbox}"
        clock = lambda: noon + timedelta(minutes=1 + later)  # noqa: E731
        return send(batch, approval, transport=way, confirm=len(batch), progress=False, clock=clock)

    return go


def test_it_covers_batch_after_batch_of_the_same_version(shop, noon, standing, sent, make_log):
    approval = standing()
    assert sent(shop.prepare(), approval).sent == 12
    more = shop.prepare(log=make_log(20), now=noon + timedelta(minutes=1))
    assert sent(more, approval).sent == 8


def test_a_saved_one_is_the_same_and_a_changed_limit_voids_it(shop, standing, sent, tmp_path):
    approval = standing()
    again = load_approval(approval.save(tmp_path / "standing.json"))
    assert isinstance(again, StandingApproval)
    assert again == approval
    with pytest.raises(ApprovalError, match="changed after signing"):
        sent(shop.prepare(), dataclasses.replace(again, mails_a_day=10**6))
    assert sent(shop.prepare(), again).sent == 12


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("text", "templates: changed welcome/hello"),
        ("scenario", "scenarios: changed welcome"),
        ("sender", r"sender: changed name \(approved 'Maison Lune', found 'Maison Noire'\)"),
    ],
)
def test_a_change_voids_it_and_is_named(shop, standing, sent, make_program, change, said):
    approval, program = standing(), shop.program
    if change == "text":
        path = shop.templates / "welcome" / "hello.txt"
        path.write_text(path.read_text().replace("Good to see you", "Good to see you!"))
    elif change == "scenario":
        program = make_program(OFFER % "percent: 90")
    else:
        program = make_program(sender={"name": "Maison Noire", "email": "hello@example.com"})
    with pytest.raises(ApprovalError, match=rf"standing approval is void; nothing was sent(\n.*)*{said}") as told:
        sent(shop.prepare(program=program), approval)
    assert "approve it anew (`toolkit approve`, approve_standing)" in str(told.value)
    assert shop.mails() == []


def test_mails_over_the_limit_of_a_day_are_held_back_and_go_when_the_day_is_over(shop, standing, sent, noon):
    approval = standing(mails_a_day=5)
    batch = shop.prepare(window="48h")
    report = sent(batch, approval)
    assert (report.sent, report.waiting, report.held_back) == (5, 7, 7)
    assert str(report).endswith("waiting 7, of which 7 held back by the limits of the approval")
    again = sent(batch, approval, later=60)
    assert (again.sent, again.already_sent, again.held_back) == (0, 5, 7)
    tomorrow = sent(batch, approval, later=24 * 60)
    assert (tomorrow.sent, tomorrow.held_back) == (5, 2)


def test_discounts_over_the_limit_of_a_day_are_held_back(shop, standing, sent, make_program):
    program = make_program(OFFER % "amount: 5, currency: EUR")
    approval = standing(program=program, discount_a_day=17.5)
    report = sent(shop.prepare(program=program), approval)
    assert (report.sent, report.held_back) == (3, 9)


def test_a_discount_nobody_can_put_a_number_to_is_held_back_where_there_is_a_limit(shop, standing, sent, make_program):
    program = make_program(OFFER % "percent: 10")
    batch = shop.prepare(program=program)
    assert sent(batch, standing(program=program, discount_a_day=100.0)).held_back == 12
    assert sent(batch, standing(program=program)).sent == 12


def test_a_scenario_that_is_not_covered_is_refused(shop, standing, sent, make_program):
    program = make_program((OFFER % "percent: 10").replace("scenario: welcome", "scenario: other"))
    with pytest.raises(ApprovalError, match="does not cover other, only welcome"):
        sent(shop.prepare(program=program), standing())


def test_one_that_is_over_or_revoked_sends_nothing(shop, standing, sent):
    with pytest.raises(ApprovalError, match="over since 2026-03-02 12:01"):
        sent(shop.prepare(), standing(expires="1m"))
    approval = standing()
    with Ledger.open(shop.outbox / "ledger.sqlite") as ledger:
        ledger.revoke(approval.id, by="ben")
    with pytest.raises(ApprovalError, match="revoked by ben"):
        sent(shop.prepare(), approval)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mails_a_day": 0}, "mails_a_day: expected a whole number from 1"),
        ({"discount_a_day": -1.0}, "discount_a_day: expected 0 or more"),
        ({"scenarios": ["welcom"]}, "no scenario 'welcom'.*did you mean 'welcome'"),
        ({"expires": "soon"}, "expires: "),
    ],
)
def test_limits_that_are_none_are_refused(standing, options, said):
    with pytest.raises(InputError, match=said):
        standing(**options)


def test_it_says_what_it_lets_go(standing):
    approval = standing(discount_a_day=200)
    assert repr(approval).startswith(
        "StandingApproval of welcome by ana: at most 100 mails a day, €200.00 discount a day, until 2026-04-01"
    )
    assert "Any change to these scenarios" in approval._repr_html_()


@pytest.mark.parametrize(
    "change",
    [
        {"caps": [{"limit": 9, "per": "1d", "scope": "marketing"}]},
        {"quiet": {"from": "22:00", "to": "08:00"}},
        {"sender": {"name": "Maison Lune", "email": "other@example.com"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_all_scenarios_share_is_part_of_what_stands_approved(shop, make_program, change):
    standing = approve_standing(shop.program, shop.templates, by="ana", mails_a_day=100)
    batch = shop.prepare(program=make_program(**change))
    with pytest.raises(ApprovalError, match=r"the standing approval is void(.*\n)+.*(policies|sender): "):
        standing.check(batch)
    assert standing.check(shop.prepare()) is None
