"""A mail that went before is not sent again because it is called otherwise: a new column, a renamed step."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pandas as pd
import pytest

from tests.sending.shops import NOON, WELCOME, events_of, people_of, program_of
from toolkit.events import EventLog
from toolkit.sending import Ledger, send
from toolkit.sending.ledger.planning import plan_mails, plan_run
from toolkit.sending.ledger.renamed_decisions import TOO_SOON, UNDER_ANOTHER_NAME, planned_twice

ORDERS = """
scenario: welcome
class: transactional
trigger: {event: sign_up}
key: order_id
reentry: every
while_active: parallel
steps: [{wait: 1h}, {id: hello, send: welcome/hello}]
"""
OTHER = """
scenario: receipt
class: transactional
trigger: {event: sign_up}
reentry: every
steps: [{wait: 1h}, {id: paid, send: welcome/hello}]
"""


@pytest.fixture
def sent(shop):
    """A dozen mails of a log without event_id, sent; and the events."""
    events = events_of(12).assign(revenue=0.0)
    _send(shop, shop.prepare(log=_log(events)))
    return events


def _log(events, count=12):
    return EventLog.from_pandas(events, customers=people_of(count))


def _send(shop, batch):
    report = send(batch, shop.approve(batch), transport=f"outbox:{shop.outbox}", confirm=len(batch), progress=False)
    assert report.sent == len(batch)


@pytest.mark.parametrize(
    "change",
    [
        lambda events: events.assign(segment="new"),
        lambda events: events.assign(revenue=0.01),
        lambda events: events.assign(at=events["at"] + pd.Timedelta(1, unit="ms")),
        lambda events: events.assign(event_id=[f"e{n}" for n in range(len(events))]),
    ],
    ids=["a column more", "another number", "another fraction of the second", "ids at last"],
)
def test_a_log_whose_events_are_called_otherwise_mails_nobody_again(shop, sent, change):
    batch = shop.prepare(log=_log(change(sent)))
    assert len(batch) == 0
    assert batch.skipped == {UNDER_ANOTHER_NAME: 12}
    assert set(batch.left_out.values()) == {UNDER_ANOTHER_NAME}
    (note,) = [note for note in batch.notes if "under another name" in note]
    assert note.startswith("12 mails are left out")
    assert "give the log an event_id" in note
    assert len(shop.mails()) == 12


def test_a_renamed_step_mails_nobody_again_and_who_is_new_is_mailed(shop, sent):
    renamed = program_of(WELCOME.replace("id: hello", "id: hallo"))
    more = events_of(13).assign(revenue=0.0, segment="new")
    batch = shop.prepare(log=_log(more, 13), program=renamed)
    assert [mail.customer_id for mail in batch.mails] == ["c12"]
    assert batch.skipped == {UNDER_ANOTHER_NAME: 12}
    _send(shop, batch)
    with Ledger.open(shop.outbox / "ledger.sqlite") as ledger:
        rows = ledger.deliveries()
    assert rows["scenario"].tolist() == ["welcome"] * 13
    assert rows["step"].tolist() == ["hello"] * 12 + ["hallo"]
    assert set(rows["decided_at"]) == {pd.Timestamp(NOON - timedelta(hours=3))}


def test_the_same_names_are_known_as_before(shop, sent):
    batch = shop.prepare(log=_log(sent))
    assert batch.skipped == {"already sent": 12}
    assert not any("under another name" in note for note in batch.notes)


def test_another_scenario_of_the_same_moment_is_another_mail(shop, sent):
    both = program_of(OTHER)
    assert len(shop.prepare(log=_log(sent), program=both)) == 12


def test_a_renamed_scenario_is_told_before_it_mails_the_same_people_again(shop, sent):
    batch = shop.prepare(log=_log(sent), program=program_of(WELCOME.replace("scenario: welcome", "scenario: greeting")))
    assert len(batch) == 12
    (note,) = [note for note in batch.notes if "same second" in note]
    assert note.startswith(
        "12 mails of greeting go to people whom welcome, which is not in this program, mailed in the"
    )
    later = program_of(WELCOME.replace("scenario: welcome", "scenario: greeting").replace("1h", "2h"))
    assert not any("same second" in note for note in shop.prepare(log=_log(sent), program=later).notes)


def test_a_scenario_beside_another_of_the_same_program_is_no_renamed_one(shop, sent):
    beside = program_of(f"{WELCOME}\n---\n{WELCOME.replace('scenario: welcome', 'scenario: greeting')}")
    batch = shop.prepare(log=_log(sent), program=beside)
    assert {mail.letter.scenario for mail in batch.mails} == {"greeting"}
    assert not any("same second" in note for note in batch.notes)


def test_a_second_order_of_the_same_moment_is_another_mail(shop):
    program = program_of(ORDERS)
    first = events_of(3).assign(order_id="1", event_id=["a0", "a1", "a2"])
    _send(shop, shop.prepare(log=_log(first), program=program))
    second = first.assign(order_id="2", event_id=["b0", "b1", "b2"])
    batch = shop.prepare(log=_log(pd.concat([first, second])), program=program)
    assert len(batch) == 3
    assert batch.skipped == {"already sent": 3}


def test_a_mail_that_never_went_may_go_under_its_new_name(shop, sent):
    later = events_of(12, [{"customer_id": "c0", "event": "sign_up", "at": NOON - timedelta(hours=3)}])
    every = program_of(WELCOME.replace("reentry: once", "reentry: every"))
    log = _log(later.assign(revenue=0.0))
    batch = shop.prepare(log=log, program=every)
    assert [mail.customer_id for mail in batch.mails] == ["c0"]  # another moment is another mail
    with Ledger.open(shop.outbox / "ledger.sqlite") as ledger, ledger.changing() as connection:
        connection.exec_driver_sql("UPDATE delivery SET state = 'cancelled' WHERE customer_id = 'c5'")
    batch = shop.prepare(log=_log(sent.assign(segment="new")))
    assert [mail.customer_id for mail in batch.mails] == ["c5"]


def test_mails_of_an_older_ledger_have_no_scenario_and_hold_nobody_back(shop, sent):
    with Ledger.open(shop.outbox / "ledger.sqlite") as ledger, ledger.changing() as connection:
        connection.exec_driver_sql("UPDATE delivery SET scenario = NULL")
    assert len(shop.prepare(log=_log(sent.assign(segment="new")))) == 12


def test_two_orders_at_the_edge_of_the_window_are_two_mails(shop):
    program = program_of(ORDERS)
    first = events_of(1).assign(order_id="1", event_id="a")
    _send(shop, shop.prepare(log=_log(first), program=program))
    second = first.assign(order_id="2", event_id="b", at=first["at"] + pd.Timedelta(800, unit="ms"))
    (sent_at,) = first["at"] + pd.Timedelta(1, unit="h")
    edge = (sent_at + pd.Timedelta(24, unit="h") + pd.Timedelta(400, unit="ms")).to_pydatetime()  # the first is too old
    batch = shop.prepare(log=_log(pd.concat([first, second])), program=program, now=edge)
    assert [mail.key for mail in batch.mails] == ["2"]


def _both(shop, scenario, *, ledger=None, one, two):
    """Two batches, from logs that call events otherwise, prepared before either is sent; how many each mails."""
    ledger = ledger or shop.outbox / "ledger.sqlite"
    program = program_of(scenario)
    batches = [shop.prepare(program=program, log=log, ledger=ledger) for log in (one, two)]
    assert not {mail.letter.decision_id for mail in batches[0].mails} & {
        mail.letter.decision_id for mail in batches[1].mails
    }
    reports = []
    for batch in batches:
        ways = {"transport": f"outbox:{shop.outbox}", "ledger": ledger, "progress": False}
        reports.append(send(batch, shop.approve(batch), confirm=len(batch), **ways))
    return reports


@pytest.mark.parametrize("again", ["once", "{after: 7d, from: entry}"])
def test_of_two_batches_prepared_from_logs_that_call_events_otherwise_one_mails_each(shop, again):
    events = events_of(12).assign(revenue=0.0)
    later = pd.concat([events, events_of(15).iloc[12:].assign(revenue=0.0)]).assign(segment="new")
    scenario = WELCOME.replace("reentry: once", f"reentry: {again}")
    first, second = _both(shop, scenario, one=_log(events), two=_log(later, 15))
    assert (first.sent, second.sent, second.skipped) == (12, 3, 12)
    assert set(second.table.loc[second.table["outcome"] == "skipped", "reason"]) == {UNDER_ANOTHER_NAME}
    assert len(shop.mails()) == 15


def test_the_same_with_a_ledger_in_postgresql(shop, postgres_server):
    with postgres_server.psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE renamed")
    ledger = f"{postgres_server.server_url}/renamed"
    events = events_of(3).assign(revenue=0.0)
    one, two = _log(events, 3), _log(events.assign(segment="new"), 3)
    first, second = _both(shop, WELCOME, ledger=ledger, one=one, two=two)
    assert (first.sent, second.sent, second.skipped) == (3, 0, 3)


@pytest.mark.parametrize("scenario", [ORDERS, ORDERS.replace("key: order_id", "").replace("parallel", "ignore")])
def test_mails_that_may_be_several_in_one_moment_all_go(shop, scenario):
    events = events_of(3).assign(order_id=["a", "b", "c"])
    one, two = _log(events, 3), _log(events.assign(order_id=["d", "e", "f"]), 3)
    assert [report.sent for report in _both(shop, scenario, one=one, two=two)] == [3, 3]


def test_two_mails_of_one_scenario_in_one_moment_both_go(shop):
    scenario = WELCOME.replace("  - {id: hello,", "  - {id: first, send: welcome/hello}\n  - {id: hello,")
    shop.program = program_of(scenario)
    batch = shop.prepare(log=_log(events_of(2).assign(revenue=0.0), 2))
    assert len(batch) == 4
    _send(shop, batch)


def test_of_two_names_planned_at_the_same_moment_in_postgresql_one_goes(postgres_server, entries, run_record, clock):
    with postgres_server.psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE renamed_at_once")
    place, program = f"{postgres_server.server_url}/renamed_at_once", program_of(WELCOME)
    one, two = (replace(entry, customer_id="c0", scenario="welcome", step="hello") for entry in entries(2))

    def plan():
        with Ledger.open(place, clock=clock) as mine:
            mine.plan(run_record("two", mails=1), [two])
            return planned_twice(mine, program, "two")

    with Ledger.open(place, clock=clock) as ledger, ThreadPoolExecutor(1) as threads:
        with ledger.changing() as connection:
            plan_run(connection, run_record("one", mails=1), now=0)
        with ledger.changing() as connection:
            plan_mails(connection, run_record("one", mails=1), [one], now=0)
            other = threads.submit(plan)
            time.sleep(1.0)  # long enough to be planned first, if it could
        stopped = {**planned_twice(ledger, program, "one"), **other.result(timeout=30)}
    assert stopped == {two.decision_id: UNDER_ANOTHER_NAME}


BIRTHDAY = """
scenario: welcome
trigger: {date: born, every: year, at: "09:00"}
reentry: {after: 300d, from: entry}
steps: [{id: hello, send: welcome/hello}]
"""
SILENCE = """
scenario: welcome
trigger: {inactive: purchase, for: 60d}
reentry: {after: 180d, from: entry}
steps: [{id: hello, send: welcome/hello}]
"""


@pytest.mark.parametrize(
    ("scenario", "before", "after", "later"),
    [
        (BIRTHDAY, "09:00", "10:00", timedelta(0)),
        (BIRTHDAY, "09:00", "08:00", timedelta(0)),
        (BIRTHDAY, "300d", "299d", timedelta(0)),
        (SILENCE, "60d", "61d", timedelta(days=1)),
        (WELCOME, "trigger: {event: sign_up}", "trigger: {event: sign_in}", timedelta(days=30)),
    ],
    ids=["an hour later", "an hour sooner", "another gap", "a day more of silence", "another event"],
)
def test_an_edited_scenario_mails_nobody_again_whom_its_reentry_protects(shop, scenario, before, after, later):
    log = _of_silence(later)
    first = shop.prepare(log=log, program=program_of(scenario))
    assert len(first) == 4
    _send(shop, first)
    again = shop.prepare(log=log, program=program_of(scenario.replace(before, after)), now=NOON + later)
    assert len(again) == 0
    assert again.skipped == ({"already sent": 4} if before == "300d" else {TOO_SOON: 4})
    if before != "300d":
        (note,) = [note for note in again.notes if "an earlier version" in note]
        assert note.startswith(
            "4 mails are left out because an earlier version of the scenario sent this step to the same"
        )


@pytest.mark.parametrize(("scope", "mailed"), [("scenario", 0), ("marketing", 0), (None, 4)])
def test_a_cap_counts_what_an_earlier_version_of_the_scenario_sent(shop, scope, mailed):
    later = timedelta(days=29, hours=12)
    log = _of_silence(later)
    caps = f"caps: [{{limit: 1, per: 30d, scope: {scope}}}]\n" if scope else ""
    every = WELCOME.replace("reentry: once", f"reentry: every\n{caps}")
    _send(shop, shop.prepare(log=log, program=program_of(every)))
    batch = shop.prepare(log=log, program=program_of(every.replace("sign_up", "sign_in")), now=NOON + later)
    assert len(batch) == mailed
    assert batch.skipped == ({} if mailed else {"cap": 4})


def test_who_may_have_it_again_by_the_reentry_gets_it_from_an_edited_scenario(shop):
    log = _of_silence(timedelta(0))
    _send(shop, shop.prepare(log=log, program=program_of(BIRTHDAY)))
    later = program_of(BIRTHDAY.replace("09:00", "10:00"))
    assert len(shop.prepare(log=log, program=later, now=NOON + timedelta(days=365))) == 4
    every = BIRTHDAY.replace("{after: 300d, from: entry}", "every").replace("09:00", "10:00")
    assert len(shop.prepare(log=log, program=program_of(every))) == 4


def test_a_second_mail_of_this_very_version_is_no_earlier_one(shop):
    """The same step, to the same customer, of a scenario that begins once: the replay names both."""
    twice = WELCOME.replace(
        "  - {id: hello, send: welcome/hello}", "  - {repeat: 2, steps: [{id: hello, send: welcome/hello}, {wait: 2d}]}"
    )
    for later in (timedelta(0), timedelta(days=2)):
        batch = shop.prepare(program=program_of(twice), now=NOON + later)
        assert len(batch) == len(shop.log.customers)
        _send(shop, batch)
    written = [path.read_bytes() for path in sorted(shop.outbox.glob("*.eml"))]
    assert len(written) == 24
    assert all(b"\nFeedback-ID: welcome:hello:marketing:maisonlune" in one for one in written)


def _of_silence(later):
    """Four people whose birthday is today, who bought 60 days ago, signed up this morning and sign in again later."""
    people = people_of(4).assign(born=pd.Timestamp("1990-03-02"))
    events = (
        ("purchase", NOON - timedelta(days=60, hours=2)),
        ("sign_up", NOON - timedelta(hours=2)),
        ("sign_in", NOON + later - timedelta(hours=2)),
    )
    rows = [
        {"customer_id": f"c{n}", "event": event, "at": at, "revenue": 10.0} for n in range(4) for event, at in events
    ]
    return EventLog.from_pandas(pd.DataFrame(rows), customers=people)
