"""Answers are read together with the shop's log, and change nothing of it."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.tracking.conftest import FIREFOX, NAMES, SECOND, START
from toolkit.engine import measure, replay
from toolkit.errors import EventLogError
from toolkit.events import EventLog
from toolkit.scenario import loads
from toolkit.stats import Rate
from toolkit.tracking import Answers, Incoming
from toolkit.tracking.tokens import TRAP

CART = loads("""
scenario: cart
trigger: {event: cart_add}
reentry: once
goal: {event: purchase, within: 7d, value: value}
experiment: {name: offer_1, arms: {control: 0.5, reminder: 0.5}, holdout: control}
steps:
  - {wait: 1h}
  - {id: reminder, send: cart/reminder}
  - wait_for: {event: email_clicked, within: 1d}
    then: [exit]
    else:
      - {id: again, send: cart/again}
""")
HOUR = 3600 * SECOND


@pytest.fixture(params=["given ids", "hashed ids"])
def shop(request, tmp_path):
    at = pd.Timestamp(START - 2 * HOUR, unit="us", tz="UTC")
    rows = [{"customer_id": f"c{n}", "event": "cart_add", "at": at, "value": 20.0 + n} for n in range(4)]
    frame = pd.DataFrame(
        [*rows, {"customer_id": "c1", "event": "purchase", "at": at + pd.Timedelta("3h"), "value": 5.0}]
    )
    if request.param == "given ids":
        frame["event_id"] = [f"e{n}" for n in range(len(frame))]
    EventLog.from_pandas(frame).save(tmp_path / "shop")
    return tmp_path / "shop"


@pytest.fixture
def answered(answers, tmp_path):
    answers.sent([(f"d{n}", START - HOUR, None) for n in range(3)])
    answers.record(
        [
            Incoming("opened", START - 50 * 60 * SECOND, mail=NAMES[0], agent=FIREFOX),
            Incoming("clicked", START - 49 * 60 * SECOND, mail=NAMES[0], agent=FIREFOX, number=0),
            Incoming("clicked", START - 40 * 60 * SECOND, mail=NAMES[1], agent=FIREFOX, number=TRAP),
            Incoming("bounced", START, "bounce", NAMES[2], bounce_type="soft", event_id="b1"),
            Incoming("preferences", START, mail=NAMES[0], properties={"topic_news": False}),
            Incoming("opened", START, "brevo", provider_mail="nobody's", event_id="u1"),
        ]
    )
    return str(tmp_path / "answers.sqlite")


def test_both_are_one_log_and_the_shops_own_ids_stay(shop, answered):
    alone, log = EventLog.open(shop), EventLog.open(shop, answers=answered)
    assert log.event_counts == alone.event_counts | {
        "email_sent": 3,
        "email_opened": 1,
        "email_clicked": 1,
        "email_clicked_by_machine": 1,
        "email_bounced": 1,
        "customer_updated": 1,
    }
    assert len(log) == len(alone) + 8
    assert log.event_ids(range(len(alone))) == alone.event_ids(range(len(alone)))
    events = log.events.set_index("event")
    assert events.loc["email_clicked", ["decision_id", "scenario", "arm", "verdict"]].tolist() == [
        "d0", "cart", "reminder", "human",
    ]  # fmt: skip
    assert events.loc["email_bounced", "bounce_type"] == "soft"
    assert bool(events.loc["customer_updated", "topic_news"]) is False
    assert log.properties["value"] == "number"
    assert any("8 events" in note for note in log.notes)


def test_what_a_url_names_and_a_log_in_memory_are_as_good(shop, answered):
    log = EventLog.from_pandas(EventLog.open(shop).events).with_answers(f"sqlite:///{answered}")
    assert log.event_counts["email_sent"] == 3


def test_decisions_up_to_the_mails_are_the_same_with_and_without_answers(shop, answered):
    until = pd.Timestamp(START - HOUR, unit="us", tz="UTC")
    alone = replay(CART, EventLog.open(shop), until=until, assume="as_logged")
    both = replay(CART, EventLog.open(shop, answers=answered), until=until, assume="as_logged")
    assert both.decisions["decision_id"].tolist() == alone.decisions["decision_id"].tolist()


def test_a_branch_sees_the_click_of_a_person_and_not_of_a_machine(answers, tmp_path, tracked_mail, clock):
    every_arm = loads("""
scenario: cart
trigger: {event: cart_add}
reentry: once
steps:
  - {wait: 1h}
  - {id: reminder, send: cart/reminder}
  - wait_for: {event: email_clicked, within: 1d}
    then: [exit]
    else:
      - {id: again, send: cart/again}
""")
    at = pd.Timestamp(START - 2 * HOUR, unit="us", tz="UTC")
    frame = pd.DataFrame({"customer_id": ["c0", "c1", "c2"], "event": "cart_add", "at": at})
    answers.record(
        [
            Incoming("clicked", START - HOUR // 2, mail=NAMES[0], agent=FIREFOX, number=0),
            Incoming("clicked", START - HOUR // 2, mail=NAMES[1], agent=FIREFOX, number=0),
            Incoming("clicked", START - HOUR // 2 + SECOND, mail=NAMES[1], agent=FIREFOX, number=1),
        ]
    )
    log = EventLog.from_pandas(frame).with_answers(str(tmp_path / "answers.sqlite"))
    until = pd.Timestamp(START + 30 * HOUR, unit="us", tz="UTC")
    run = replay(every_arm, log, until=until, assume="as_logged")
    again = run.decisions[run.decisions["step"] == "again"]["customer_id"].tolist()
    assert sorted(again) == ["c1", "c2"]


def test_no_answers_yet_change_nothing(shop, tmp_path):
    Answers.open(tmp_path / "empty.sqlite").close()
    log = EventLog.open(shop, answers=str(tmp_path / "empty.sqlite"))
    assert log.event_counts == EventLog.open(shop).event_counts


def test_a_place_without_answers_is_named(shop, tmp_path):
    with pytest.raises(EventLogError, match=r"no such file"):
        EventLog.open(shop, answers=str(tmp_path / "nothing.sqlite"))


def test_reading_twice_counts_once(shop, answered):
    log = EventLog.open(shop, answers=answered).with_answers(answered)
    assert log.event_counts["email_sent"] == 3
    assert any("each counts once" in note for note in log.notes)


def test_outcomes_say_whose_an_open_was_and_a_machine_opens_nothing(answers, tmp_path):
    at = pd.Timestamp(START - 2 * HOUR, unit="us", tz="UTC")
    frame = pd.DataFrame({"customer_id": ["c0", "c1", "c2", "c3"], "event": "cart_add", "at": at, "value": 1.0})
    end = pd.DataFrame({"customer_id": ["c3"], "event": ["view"], "at": [at + pd.Timedelta(days=9)], "value": [0.0]})
    gmail = "Mozilla/5.0 (Windows NT 5.1) Firefox/11.0 (via ggpht.com GoogleImageProxy)"
    answers.sent([(f"d{n}", START - HOUR, None) for n in range(3)])
    for name, agent in zip(NAMES, (FIREFOX, gmail, "Mozilla/5.0"), strict=False):
        answers.record([Incoming("opened", START - HOUR // 2, mail=name, agent=agent)])
    log = EventLog.from_pandas(pd.concat([frame, end])).with_answers(str(tmp_path / "answers.sqlite"))
    goal = CART["cart"].goal.replace(event="view")
    outcomes = measure(replay(CART["cart"].replace(goal=goal), log, assume="as_logged")).set_index("unit")
    assert outcomes["open_verdict"].fillna("").to_dict() == {"c0": "human", "c1": "unsure", "c2": "machine", "c3": ""}
    assert outcomes["opened"].to_dict() == {"c0": True, "c1": True, "c2": False, "c3": False}
    assert Rate("opened", verdict="open_verdict").terms()
