"""The gate looks at people as the engine does: what was decided this very moment holds, what changed since does not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.reference.worlds import World, worlds
from toolkit.engine import replay
from toolkit.events import EventLog
from toolkit.sending.recheck import Due, attributes_of, stopped_by_now

ONE_BY_ONE = settings(
    deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), derandomize=True
)


def _due(decisions):
    return [
        Due(row.decision_id, row.scenario, row.customer_id, None, row.at.to_pydatetime())
        for row in decisions.itertuples()
    ]


NEWS = frozenset(
    {"unsubscribes", "updates", "consent_updates", "email_updates", "late", "exit_on", "bounces", "transactional"}
)


def _asking(one: World) -> World:
    """The same world, in which half of the people gave no consent before the log begins, and many do in it."""
    events = [{**row, "event": "email_subscribed" if row["event"] == "c" else row["event"]} for row in one.events]
    people = [{**row, "consent": row["customer_id"] in ("bo", "di", "flo")} for row in one.customers]
    return replace(one, events=tuple(events), customers=tuple(people))


@settings(ONE_BY_ONE, max_examples=60)
@given(worlds(NEWS, largest=2).map(_asking))
def test_what_the_engine_decides_this_moment_passes_the_gate_in_it(one: World) -> None:
    log = one.log()
    decided = replay(one.program, log, until=one.until, count_logged_sends=one.count_logged_sends).decisions
    for at, together in decided[decided["status"] == "send"].groupby("at"):
        moment = at.to_pydatetime()
        assert stopped_by_now(log, one.program, _due(together), now=moment) == {}
        if "email" in log.attributes:
            known = attributes_of(log, together["customer_id"].tolist(), now=moment)
            assert all(known[customer].get("email") for customer in together["customer_id"])


@pytest.fixture
def gate(make_program, noon):
    """What the gate says at noon of a mail decided three hours before, by the log as it is then."""

    def said(*, people=None, events=()):
        rows = [{"customer_id": "c0", "event": "sign_up", "at": noon - timedelta(hours=4)}]
        frame = pd.DataFrame([*rows, *({"customer_id": "c0", **event} for event in events)])
        frame["at"] = pd.to_datetime(frame["at"], utc=True)
        log = EventLog.from_pandas(frame, customers=None if people is None else pd.DataFrame(people))
        due = Due("d0", "welcome", "c0", None, noon - timedelta(hours=3))
        return stopped_by_now(log, make_program(), [due], now=noon).get("d0")

    return said


def _told(noon, hours, event, **more):
    return {"event": event, "at": noon - timedelta(hours=hours), **more}


def test_who_gave_consent_by_an_event_is_mailed_whatever_the_table_said_before(gate, noon):
    refused = {"customer_id": ["c0"], "consent": [False]}
    assert gate(people=refused) == "unsubscribed"
    assert gate(people=refused, events=[_told(noon, 9, "email_subscribed")]) is None
    assert gate(people=refused, events=[_told(noon, 9, "customer_updated", consent="yes")]) is None


def test_of_what_events_say_of_a_consent_the_last_counts(gate, noon):
    said_no, said_yes = _told(noon, 9, "customer_updated", consent=False), _told(noon, 8, "email_subscribed")
    assert gate(events=[said_no, said_yes]) is None
    assert gate(events=[said_yes, _told(noon, 7, "email_unsubscribed")]) == "unsubscribed"
    assert gate(events=[said_yes, _told(noon, 7, "customer_updated", consent="no")]) == "unsubscribed"


@pytest.mark.parametrize(
    "people", [{"customer_id": ["c0"], "consent": [None]}, {"customer_id": ["c1"], "consent": [1]}]
)
def test_nobody_is_mailed_without_a_yes_where_the_log_knows_of_consents(gate, people):
    assert gate(people=people) == "unsubscribed"
    assert gate(people={"customer_id": ["c1"]}) is None


def test_an_address_that_events_alone_tell_is_known(noon):
    events = pd.DataFrame({"customer_id": "c0", "event": "customer_updated", "email": "c0@example.org", "at": [noon]})
    assert attributes_of(EventLog.from_pandas(events), ["c0"], now=noon)["c0"]["email"] == "c0@example.org"
