"""The gate looks at people as the engine does: what was decided this very moment holds, what changed since does not."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.reference.worlds import World, worlds
from toolkit.engine import replay
from toolkit.events import EventLog
from toolkit.scenario import models as m
from toolkit.scenario.duration import Duration
from toolkit.scenario.places import field_of
from toolkit.sending.ledger.claims import Sent
from toolkit.sending.sender.recheck import Due, attributes_of, over_cap, stopped_by_now, stopped_since

ONE_BY_ONE = settings(
    deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), derandomize=True
)


def _due(decisions, keys=None):
    """Decisions to send, with the keys of their journeys where exits may ask for them."""
    keys = {} if keys is None else keys
    return [
        Due(row.decision_id, row.scenario, row.customer_id, keys.get(row.journey_id), row.at.to_pydatetime())
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


EXITS = frozenset({"exit_on", "where", "key", "match", "parallel", "late", "duplicates", "transactional"})


def _staying(one: World) -> World:
    """The same world, in which whoever was mailed stays in the journey, so that the engine still sees what ends it."""

    def stay(steps):
        kept = []
        for step in steps:
            changed = {field_of(step, str(way[0])): stay(below) for way, below in m.steps_below(step)}
            kept.append(step.replace(**changed) if changed else step)
            kept += [m.Wait(wait=Duration.parse("90d"))] if isinstance(step, m.Send) else []
        return tuple(kept)

    scenarios = (scenario.replace(steps=stay(scenario.steps)) for scenario in one.program.scenarios)
    return replace(one, program=one.program.replace(scenarios=tuple(scenarios)), until=None)


def _keyed_by(one: World, codes) -> World:
    """The same world, whose journeys are kept apart by another column, with these values."""

    def keyed(scenario):
        exits = (end.replace(match=end.match and "code") for end in scenario.exit_on)
        return scenario.replace(key=scenario.key and "code", exit_on=tuple(exits))

    program = one.program.replace(scenarios=tuple(map(keyed, one.program.scenarios)))
    events = tuple({**row, "code": codes.get(row["k"])} for row in one.events)
    return replace(one, program=program, events=events, columns=(*one.columns, "code"))


CODES = [
    {"x": "a", "y": "A"},
    {"x": 7, "y": 12},
    {"x": 0.1, "y": 3.0},
    {"x": 1e22, "y": -1e-7},
    {"x": True, "y": False},
    {"x": datetime(2026, 3, 1, tzinfo=UTC), "y": datetime(2026, 3, 1, 12, 30, 0, 5, tzinfo=UTC)},
]


@settings(ONE_BY_ONE, max_examples=90)
@given(worlds(EXITS, largest=2).map(_staying), st.sampled_from(CODES))
def test_what_ends_a_journey_after_its_mail_stops_the_mail_and_nothing_else_does(one: World, codes) -> None:
    one = _keyed_by(one, codes)
    log = one.log()
    run = replay(one.program, log)
    journeys = run.journeys.set_index("journey_id")
    going = run.decisions[run.decisions["status"] == "send"]
    exited = journeys.loc[journeys["ended_by"] == "exited", "ended_at"].to_dict()
    ended = {row.decision_id: exited[row.journey_id] for row in going.itertuples() if row.journey_id in exited}
    due = _due(going, journeys["key"].dropna())
    later = datetime.max.replace(tzinfo=UTC)
    for moment in sorted({row["received_at"] for row in one.events}):
        decided = [mail for mail in due if mail.at <= moment]
        left = {mail.decision_id for mail in decided if ended.get(mail.decision_id, later) <= moment}
        assert stopped_since(log, one.program, decided, now=moment) == dict.fromkeys(left, "exited")


CAPS = frozenset({"caps", "key", "parallel", "wait_until", "experiment", "holdout", "quiet", "unsubscribes", "zones"})
SKIP: dict[str, Any] = {"on_hit": "skip"}


@settings(ONE_BY_ONE, max_examples=60)
@given(worlds(CAPS, largest=3), st.integers(0, 6), st.booleans())
def test_mails_that_only_the_ledger_knows_fill_the_caps_as_those_of_the_engine_do(one: World, day, own) -> None:
    # What is withheld fills a cap of its scenario (R14), which the ledger cannot know: there with no holdout.
    caps = tuple(cap.replace(**SKIP if own else {**SKIP, "scope": "marketing"}) for cap in one.program.policies.caps)
    scenarios = [scenario.replace(caps=()) for scenario in one.program.scenarios]
    if own:
        scenarios = [scenario.replace(experiment=_all_mailed(scenario.experiment)) for scenario in scenarios]
    free = one.program.replace(scenarios=tuple(scenarios), policies=one.program.policies.replace(caps=()))
    owned = [scenario.caps if own else () for scenario in one.program.scenarios]
    capped = free.replace(
        scenarios=tuple(
            scenario.replace(caps=tuple(cap.replace(**SKIP) for cap in some))
            for scenario, some in zip(scenarios, owned, strict=True)
        ),
        policies=free.policies.replace(caps=caps),
    )
    log = one.log()
    decided = replay(capped, log, until=one.until).decisions
    due = _due(replay(free, log, until=one.until).decisions.query("status == 'send'"))
    before = min(row["at"] for row in one.events) + timedelta(days=day)
    sent: dict[str, list[Sent]] = {}
    for mail in _due(decided[(decided["status"] == "send") & (decided["at"] < before)]):
        sent.setdefault(mail.customer_id, []).append(Sent(mail.decision_id, mail.scenario, mail.at))
    stopped = over_cap(capped, [mail for mail in due if mail.at >= before], sent)
    # Which of two mails of one moment goes is for the order of the rules (R17); how many go is for the caps.
    ours = Counter((mail.customer_id, mail.at) for mail in due if mail.decision_id in stopped)
    withheld = set(decided.query("status == 'withheld'")["decision_id"])
    held = decided[(decided["reason"] == "cap") & (decided["at"] >= before)]
    assert withheld.isdisjoint(stopped)
    names = {mail.decision_id for mail in due}
    assert ours == Counter((row.customer_id, row.at) for row in held.itertuples() if row.decision_id in names)


def _all_mailed(experiment):
    return None if experiment is None else experiment.replace(holdout=None)


@pytest.mark.parametrize("turned", [False, True])
def test_of_mails_of_one_moment_the_more_urgent_scenario_s_goes_where_a_cap_leaves_room_for_one(
    make_program, noon, turned
):
    one = make_program().scenarios[0]
    named = (one.replace(scenario="b"), one.replace(scenario="a"), one.replace(scenario="z", priority=60))
    own = {"limit": 1, "per": "7d", "scope": "scenario"}
    program = make_program(named, caps=[own, {"limit": 2, "per": "1d", "scope": "marketing"}])
    due = [Due(f"d{name}", name, "c0", None, noon) for name in "abz"]
    sent = {
        "c0": [
            Sent("earlier", "another", noon - timedelta(hours=3)),
            Sent("long ago", None, noon - timedelta(days=1)),
            Sent("too long ago", "z", noon - timedelta(days=7)),
        ]
    }
    assert over_cap(program, due[::-1] if turned else due, sent) == {"da": "cap", "db": "cap"}
    assert over_cap(program, due[::-1] if turned else due, {}) == {"db": "cap"}
    sent = {"c0": [Sent("this week", "z", noon - timedelta(days=6))]}
    assert over_cap(program, due[::-1] if turned else due, sent) == {"dz": "cap"}


def test_a_cap_counts_what_went_before_a_mail_and_of_two_moments_the_earlier_mail_goes(make_program, noon):
    program = make_program(caps=[{"limit": 1, "per": "1d", "scope": "marketing"}])
    early, late = (Due(name, "welcome", "c0", None, noon + timedelta(hours=n)) for n, name in enumerate(("de", "dl")))
    after = {"c0": [Sent("other", "welcome", noon + timedelta(minutes=30))]}
    assert over_cap(program, [early], after) == {}
    assert over_cap(program, [late], after) == {"dl": "cap"}
    assert over_cap(program, [late, early], {}) == {"dl": "cap"}
    urgent = program.scenarios[0].replace(scenario="urgent", priority=90)
    both = program.replace(scenarios=(*program.scenarios, urgent))
    assert over_cap(both, [replace(late, scenario="urgent"), early], {}) == {"dl": "cap"}


@pytest.fixture
def gate(make_program, noon):
    """What the gate says at noon of a mail decided three hours before, by the log as it is then."""

    def said(*, people=None, events=(), address=None):
        rows = [{"customer_id": "c0", "event": "sign_up", "at": noon - timedelta(hours=4)}]
        frame = pd.DataFrame([*rows, *({"customer_id": "c0", **event} for event in events)])
        frame["at"] = pd.to_datetime(frame["at"], utc=True)
        log = EventLog.from_pandas(frame, customers=None if people is None else pd.DataFrame(people))
        due = Due("d0", "welcome", "c0", None, noon - timedelta(hours=3), address)
        return stopped_by_now(log, make_program(), [due], now=noon).get("d0")

    return said


def _told(noon, hours, event, **more):
    return {"event": event, "at": noon - timedelta(hours=hours), **more}


def test_who_gave_consent_by_an_event_is_mailed_whatever_the_table_said_before(gate, noon):
    refused = {"customer_id": ["c0"], "consent": [False]}
    assert gate(people=refused) == "unsubscribed"
    assert gate(people=refused, events=[_told(noon, 9, "email_subscribed")]) is None
    assert gate(people=refused, events=[_told(noon, 9, "customer_updated", consent="yes")]) is None


def test_nobody_is_mailed_at_an_address_that_is_another_or_gone_by_now(gate, noon):
    def table(*emails):
        return {"customer_id": [f"c{n}" for n, _ in enumerate(emails)], "email": list(emails)}

    assert gate(people=table(" Ana@Example.org "), address="ana@example.org") is None
    assert gate(people=table("ana@bücher.example"), address="ana@xn--bcher-kva.example") is None
    assert gate(people=table("new@example.org"), address="ana@example.org") == "no_address"
    assert gate(people=table(None, "eve@example.org"), address="ana@example.org") == "no_address"
    moved = _told(noon, 1, "customer_updated", email="new@example.org")
    assert gate(people=table("ana@example.org"), events=[moved], address="ana@example.org") == "no_address"
    assert gate(address="ana@example.org") is None  # a log that knows no addresses says nothing of them


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


def test_a_number_that_is_missing_elsewhere_is_still_the_key_of_its_journey(make_program, noon):
    ended = {"event": "delivered", "at": noon - timedelta(hours=1), "order_id": 7.0}
    rows = [{"event": "ordered", "at": noon - timedelta(hours=4), "order_id": 7}, ended, {"event": "view", "at": noon}]
    log = EventLog.from_pandas(pd.DataFrame(rows).assign(customer_id="c0"))
    scenario = (
        make_program()
        .scenarios[0]
        .replace(
            trigger=m.EventTrigger(event="ordered"),
            key="order_id",
            exit_on=(m.ExitOn(event="delivered", match="order_id"),),
            goal=None,
        )
    )
    program = make_program((scenario,))
    run = replay(program, log, until=noon - timedelta(hours=2))
    assert run.journeys["key"].tolist() == ["7"]
    due = Due("d0", "welcome", "c0", "7", noon - timedelta(hours=3))
    assert stopped_since(log, program, [due], now=noon) == {"d0": "exited"}
