"""What a scenario says has to hold together, and to fit the log it runs on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.scenario.strategies import SHOP, programs
from toolkit.errors import Fault, ScenarioError
from toolkit.scenario.checks import check, check_against
from toolkit.scenario.models import Policies, Program, Scenario
from toolkit.scenario.reading import loads

BASE: dict[str, Any] = {
    "scenario": "cart",
    "trigger": {"event": "cart_add"},
    "reentry": "every",
    "steps": [{"send": "cart/reminder"}],
}
SUMMER = {"pools": {"summer": {"size": 1}}}
ARMS = {"name": "e", "arms": {"control": 0.5, "offer": 0.5}}


def program(policies: dict[str, Any] | None = None, **changes: Any) -> Program:
    scenario = Scenario.model_validate({**BASE, **changes})
    return Program(scenarios=(scenario,), policies=Policies.model_validate(policies or {}))


def faults(*args: Any, **changes: Any) -> list[Fault]:
    with pytest.raises(ScenarioError) as caught:
        check(program(*args, **changes))
    return list(caught.value.faults)


def warnings(**changes: Any) -> list[tuple[str | None, str]]:
    return [(fault.path, fault.message) for fault in check(program(**changes))]


def test_a_scenario_that_holds_together_brings_neither_fault_nor_warning() -> None:
    assert check(program()) == ()


WEEKLY = {"schedule": "week", "on": ["mon"], "at": "09:00"}


@pytest.mark.parametrize(
    "changes",
    [
        {"trigger": {**WEEKLY, "from": "2026-11-27", "to": "2026-12-24"}},
        {"trigger": {**WEEKLY, "from": "2026-11-27", "to": "2026-11-27"}},
        {"trigger": {"date": "first_order", "every": "once", "offset": "400d"}},
        {"steps": [{"send": "a", "offer": {"amount": 5, "currency": "CHF"}}]},
        {"steps": [{"send": "a", "offer": {"percent": 5, "minimum": 20, "currency": "CHF"}}]},
        {"steps": [{"send": "a", "offer": {"percent": 5, "code": "TEN"}}]},
        {"steps": [{"send": "a", "offer": {"percent": 5, "pool": "summer", "on_empty": "send_without"}}]},
        {"key": "order_id", "steps": [{"wait_for": {"event": "b", "within": "1d", "match": "order_id"}, "then": [],
                                       "else": [{"send": "a"}]}]},
        {"exit_on": [{"event": "b"}], "steps": [{"wait_for": {"event": "c", "within": "1d"}, "then": [{"exit": True}],
                                                 "else": [{"send": "a"}]}]},
    ],
)  # fmt: skip
def test_what_comes_near_a_fault_and_is_none_is_left_alone(changes: dict[str, Any]) -> None:
    assert check(program(SUMMER, **changes)) == ()


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"scenario": "policies"}, "policies.scenario", "a scenario cannot have this name"),
        (
            {"while_active": "parallel", "reentry": "once"},
            "cart.while_active",
            "journeys side by side need a key, or re-entry every time",
        ),
        (
            {"exit_on": [{"event": "purchase", "match": "order_id"}]},
            "cart.exit_on[0].match",
            "`match` needs a `key` of the scenario",
        ),
        (
            {"key": "order_id", "exit_on": [{"event": "purchase", "match": "product_id"}]},
            "cart.exit_on[0].match",
            "`match` is not the key of the scenario",
        ),
        (
            {"trigger": {"date": "birthday"}, "key": "order_id"},
            "cart.key",
            "a key is a property of the trigger's",
        ),
        ({"quiet": {"from": "22:00", "to": "22:00"}}, "cart.quiet.to", "quiet hours end when they begin"),
        ({"audience": {}}, "cart.audience", "the condition is empty"),
        ({"audience": {"any": [{"where": "a b"}]}}, "cart.audience.any[0].where", "not a condition in SQL"),
        (
            {"audience": {"trigger": "value > 1"}, "trigger": {"schedule": "day"}},
            "cart.audience.trigger",
            "a schedule has no properties",
        ),
        ({"trigger": {"event": "x", "where": "a ; b"}}, "cart.trigger.where", "more than one expression"),
        ({"trigger": {"inactive": "x", "for": "1d", "where": ""}}, "cart.trigger.where", "the condition is empty"),
        ({"exit_on": [{"event": "x", "where": "foo(a) = 1"}]}, "cart.exit_on[0].where", "a function that conditions"),
        (
            {"goal": {"event": "x", "within": "1d", "where": "1"}},
            "cart.goal.where",
            "this is a number",
        ),
        (
            {"audience": {"happened": {"event": "x", "where": "1 = 1 = 1 or"}}},
            "cart.audience.happened[0].where",
            "not a condition in SQL",
        ),
        ({"trigger": {"schedule": "once"}}, "cart.trigger", "a schedule of `once` needs `from`"),
        ({"trigger": {"schedule": "week"}}, "cart.trigger", "a schedule of `week` needs `on`"),
        ({"trigger": {"schedule": "month"}}, "cart.trigger", "a schedule of `month` needs `day`"),
        ({"trigger": {"schedule": "day", "on": ["mon"]}}, "cart.trigger.on", "a schedule of `day` has no `on`"),
        ({"trigger": {"schedule": "once", "from": "2026-02-30"}}, "cart.trigger.from", "no such day"),
        (
            {"trigger": {"schedule": "day", "from": "2026-02-02", "to": "2026-02-01"}},
            "cart.trigger.to",
            "ends before it begins",
        ),
        ({"experiment": {"name": "e", "arms": {"a": 1.0}}}, "cart.experiment.arms", "at least two arms"),
        ({"experiment": {"name": "e", "arms": {}}}, "cart.experiment.arms", "at least two arms"),
        ({"experiment": {"name": "e", "arms": {"a": 0.5, "b": 0.4}}}, "cart.experiment.arms", "shares do not sum to 1"),
        ({"experiment": {**ARMS, "holdout": "contrl"}}, "cart.experiment.holdout", "unknown arm"),
        ({"steps": [{"id": "x", "wait": "1h", "only": ["a"]}]}, "cart.steps.x.only", "`only` needs an experiment"),
        (
            {"experiment": ARMS, "steps": [{"wait": "1h", "only": ["ofer"]}]},
            "cart.steps.wait.only[0]",
            "unknown arm",
        ),
        ({"class": "transactional", "experiment": ARMS}, "cart.experiment", "a transactional scenario has no arms"),
        (
            {"class": "transactional", "steps": [{"send": "a", "offer": {"percent": 5}}]},
            "cart.steps.a.offer",
            "an offer in a transactional mail",
        ),
        (
            {"class": "transactional", "steps": [{"split": ARMS, "paths": {"control": [], "offer": ["exit"]}}]},
            "cart.steps.split.split",
            "a transactional scenario has no split",
        ),
        (
            {"steps": [{"id": "x", "wait": "1h"}, {"repeat": 2, "steps": [{"id": "x", "send": "a"}]}]},
            "cart.steps.repeat.steps.x.id",
            "two steps have this id; the other is steps[0]",
        ),
        ({"steps": [{"branch": "consent"}]}, "cart.steps.branch", "a branch that leads nowhere"),
        ({"steps": [{"branch": {}, "then": ["exit"]}]}, "cart.steps.branch.branch", "the condition is empty"),
        ({"steps": [{"repeat": 3, "steps": []}]}, "cart.steps.repeat.steps", "nothing to repeat"),
        (
            {"steps": [{"wait_for": {"event": "x", "within": "1d", "match": "order_id"}}]},
            "cart.steps.wait_for.wait_for.match",
            "`match` needs a `key`",
        ),
        (
            {"steps": [{"wait_for": {"event": "x", "within": "1d", "where": "("}}]},
            "cart.steps.wait_for.wait_for.where",
            "not a condition in SQL",
        ),
        ({"steps": [{"split": ARMS, "paths": {"control": []}}]}, "cart.steps.split.paths", "an arm without a path"),
        (
            {"steps": [{"split": ARMS, "paths": {"control": [], "offer": [], "ofer": []}}]},
            "cart.steps.split.paths.ofer",
            "a path of no arm",
        ),
        (
            {"steps": [{"split": {**ARMS, "holdout": "control"}, "paths": {"control": [], "offer": []}}]},
            "cart.steps.split.split.holdout",
            "a split has no holdout",
        ),
        (
            {"experiment": ARMS, "steps": [{"split": ARMS, "paths": {"control": [], "offer": []}}]},
            "cart.steps.split.split.name",
            "the name was used before in this scenario",
        ),
        (
            {"steps": [{"send": "a", "offer": {"percent": 5, "amount": 3}}]},
            "cart.steps.a.offer",
            "an offer is a percentage or an amount",
        ),
        ({"steps": [{"send": "a", "offer": {"valid": "1d"}}]}, "cart.steps.a.offer", "an offer of nothing"),
        (
            {
                "steps": [{"send": "a", "offer": {"percent": 5, "pool": "summer", "code": "x"}}],
                "policies": SUMMER,
            },
            "cart.steps.a.offer.code",
            "one code for all, or one of a pool",
        ),
        (
            {
                "steps": [{"send": "a", "offer": {"percent": 5, "pool": "sumer"}}],
                "policies": SUMMER,
            },
            "cart.steps.a.offer.pool",
            "unknown pool",
        ),
        ({"steps": ["exit", {"send": "a"}]}, "cart.steps.a", "nobody gets here: the step before ends the journey"),
        (
            {"steps": [{"branch": "consent", "then": ["exit"], "else": [{"send": "b"}, "exit"]}, {"send": "a"}]},
            "cart.steps.a",
            "nobody gets here: the step before ends the journey",
        ),
        (
            {"steps": [{"repeat": 2, "steps": [{"send": "a"}, "exit"]}]},
            "cart.steps.repeat.repeat",
            "the journey ends in the first round",
        ),
        (
            {
                "exit_on": [{"event": "purchase"}],
                "steps": [{"wait_for": {"event": "purchase", "within": "1d"}}, {"send": "a"}],
            },
            "cart.steps.wait_for.wait_for.event",
            "this can never happen: the same event is in exit_on",
        ),
        (
            {"steps": [{"wait_for": {"event": "email_unsubscribed", "within": "1d"}}, {"send": "a"}]},
            "cart.steps.wait_for.wait_for.event",
            "this can never happen: it ends every marketing journey first",
        ),
        (
            {
                "experiment": ARMS,
                "steps": [
                    {"branch": "consent", "only": ["offer"], "then": [{"id": "x", "send": "a", "only": ["control"]}]}
                ],
            },
            "cart.steps.branch.then.x.only",
            "nobody gets here: the steps around this one are for other arms",
        ),
        (
            {
                "audience": {
                    "happened": {"event": "purchase", "within": "7d", "at_least": 2},
                    "not_happened": {"event": "purchase", "within": "30d"},
                }
            },
            "cart.audience.not_happened[0]",
            "this can never be: `happened` asks for what `not_happened` forbids",
        ),
        (
            {"experiment": {"name": "e", "arms": {f"a{n}": 1 / 64 for n in range(64)}}},
            "cart.experiment.arms",
            "more than 50 arms",
        ),
        ({"policies": {"timezone": "Europe/Pari"}}, "policies.timezone", "unknown time zone"),
        ({"policies": {"quiet": {"from": "08:00", "to": "08:00"}}}, "policies.quiet.to", "quiet hours end when they"),
        ({"policies": {"pools": {"s": {}}}}, "policies.pools.s", "a pool has a size or a file"),
        (
            {"policies": {"pools": {"s": {"size": 1, "file": "x.txt"}}}},
            "policies.pools.s.file",
            "the codes' file",
        ),
    ],
)
def test_a_contradiction_is_a_fault_at_its_place(changes: dict[str, Any], path: str, message: str) -> None:
    (fault,) = faults(changes.pop("policies", None), **changes)
    assert fault.path == path
    assert fault.message.startswith(message)


@pytest.mark.parametrize(
    ("zone", "near"),
    [
        ("Europe/Pari", "Europe/Paris"),
        ("europe/paris", "Europe/Paris"),
        ("Paris", "Europe/Paris"),
        ("New York", "America/New_York"),
        ("../../etc/passwd", None),
        ("", None),
    ],
)
def test_an_unknown_time_zone_is_named_with_the_nearest(zone: str, near: str | None) -> None:
    (fault,) = faults({"timezone": zone})
    assert (fault.found, fault.nearest) == (zone, near)


def test_all_contradictions_of_a_program_come_at_once() -> None:
    found = faults(
        {"timezone": "Nowhere/Land"},
        quiet={"from": "22:00", "to": "22:00"},
        experiment={"name": "e", "arms": {"a": 0.5, "b": 0.6}, "holdout": "c"},
        steps=[{"send": "a", "only": ["z"]}, {"branch": "consent"}],
    )
    assert [fault.path for fault in found] == [
        "policies.timezone",
        "cart.quiet.to",
        "cart.experiment.arms",
        "cart.experiment.holdout",
        "cart.steps.a.only[0]",
        "cart.steps.branch",
    ]


def test_scenarios_of_one_name_are_a_fault() -> None:
    scenario = program().scenarios[0]
    with pytest.raises(ScenarioError, match="2 scenarios have this name; found 'cart'"):
        check(Program(scenarios=(scenario, scenario)))


def test_shares_that_sum_to_one_but_for_rounding_are_fine() -> None:
    arms = {"a": 0.1, "b": 0.2, "c": 0.7 - 1e-12}
    assert check(program(experiment={"name": "e", "arms": arms})) == ()


# --- size -------------------------------------------------------------------------------------------------------------


def nested(depth: int) -> list[Any]:
    steps: list[Any] = [{"send": "a"}]
    for _ in range(depth - 1):
        steps = [{"branch": "consent", "then": steps}]
    return steps


def test_steps_are_nested_at_most_twenty_levels_deep() -> None:
    assert check(program(steps=nested(20))) == ()
    (fault,) = faults(steps=nested(21))
    assert fault.message == "steps nested deeper than 20 levels"


def test_conditions_are_nested_at_most_twenty_levels_deep() -> None:
    condition: Any = {"where": "consent"}
    for _ in range(21):
        condition = {"any": [condition]}
    (fault,) = faults(audience=condition)
    assert fault.message == "conditions nested deeper than 20 levels"
    assert check(program(audience=condition["any"][0])) == ()


def test_a_scenario_has_at_most_five_hundred_steps() -> None:
    steps = [{"send": "a"}] * 500
    assert check(program(steps=steps)) == ()
    (fault,) = faults(steps=[*steps, "exit"])
    assert (fault.message, fault.found, fault.path) == ("more than 500 steps", 501, "cart.steps")


def test_repeats_unfold_to_at_most_two_thousand_steps() -> None:
    twice = {"repeat": 50, "steps": [{"repeat": 38, "steps": [{"send": "a"}]}]}
    assert check(program(steps=[twice])) == ()
    (fault,) = faults(steps=[{"repeat": 50, "steps": [{"repeat": 40, "steps": [{"send": "a"}]}]}])
    assert (fault.message, fault.found) == ("repeats unfold to too many steps", 2051)


# --- warnings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"steps": [{"wait": "1h"}]}, "cart.steps", "no step sends anything"),
        (
            {"class": "transactional", "caps": [{"limit": 1, "per": "1d"}]},
            "cart.caps",
            "transactional mails ignore `caps`",
        ),
        (
            {"class": "transactional", "quiet": {"from": "22:00", "to": "08:00"}},
            "cart.quiet",
            "transactional mails ignore `quiet`",
        ),
        (
            {"steps": [{"send": "a", "offer": {"percent": 5, "currency": "CHF"}}]},
            "cart.steps.a.offer.currency",
            "a currency without an amount",
        ),
        (
            {"steps": [{"send": "a", "offer": {"percent": 0.1}}]},
            "cart.steps.a.offer.percent",
            "a discount of less than one percent",
        ),
        (
            {"steps": [{"send": "a", "offer": {"percent": 5, "on_empty": "send_without"}}]},
            "cart.steps.a.offer.on_empty",
            "no pool that could run empty",
        ),
    ],
)
def test_what_is_odd_but_possible_is_a_warning(changes: dict[str, Any], path: str, message: str) -> None:
    assert warnings(**changes) == [(path, message)]


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": [{"exit": True, "only": ["offer"]}, {"send": "a"}], "experiment": ARMS},
        {"steps": [{"branch": "consent", "then": ["exit"]}, {"send": "a"}]},
        {"steps": [{"split": ARMS, "paths": {"control": ["exit"], "offer": []}}, {"send": "a"}]},
        {
            "exit_on": [{"event": "purchase", "where": "revenue > 5"}],
            "steps": [{"wait_for": {"event": "purchase", "within": "1d"}}, {"send": "a"}],
        },
        {
            "key": "order_id",
            "exit_on": [{"event": "purchase", "match": "order_id"}],
            "steps": [{"wait_for": {"event": "purchase", "within": "1d"}}, {"send": "a"}],
        },
        {
            "class": "transactional",
            "steps": [{"wait_for": {"event": "email_unsubscribed", "within": "1d"}}, {"send": "a"}],
        },
        {"audience": {"happened": {"event": "a", "within": "30d"}, "not_happened": {"event": "a", "within": "7d"}}},
        {"class": "transactional", "while_active": "restart"},
        {"steps": [{"send": "a", "offer": {"percent": 5, "free_shipping": True}}]},
    ],
)
def test_what_somebody_can_reach_brings_no_warning(changes: dict[str, Any]) -> None:
    assert warnings(**changes) == []


def test_warnings_do_not_keep_a_scenario_from_being_read() -> None:
    text = "{scenario: x, trigger: {event: a}, reentry: once, steps: [{wait: 1h}]}"
    assert len(check(loads(text))) == 1


# --- against a log ----------------------------------------------------------------------------------------------------

LOG: dict[str, Any] = {
    "event_counts": {"cart_add": 10, "purchase": 5, "view": 100},
    "properties": {"value": "number", "order_id": "text", "product_id": "text"},
    "attributes": {"country": "text", "birthday": "time"},
}


def test_events_the_log_has_never_seen_are_warnings_with_the_nearest() -> None:
    found = check_against(
        program(
            trigger={"event": "cart_ad"},
            exit_on=[{"event": "purchased"}],
            goal={"event": "order", "within": "1d"},
            audience={"happened": {"event": "viewed"}},
            steps=[
                {"wait_for": {"event": "email_clicked", "within": "1d"}, "then": [{"send": "a"}]},
                {"branch": {"not_happened": {"event": "zebra"}}, "then": ["exit"]},
            ],
        ),
        **LOG,
    )
    assert [(fault.path, fault.nearest) for fault in found] == [
        ("cart.trigger.event", "cart_add"),
        ("cart.audience.happened[0].event", "view"),
        ("cart.exit_on[0].event", "purchase"),
        ("cart.goal.event", None),
        ("cart.steps.branch.branch.not_happened[0].event", None),
    ]
    assert all(fault.message == "the log has no such event" for fault in found)
    assert found[0].allowed == "cart_add, purchase, view"


def test_a_property_asked_of_the_customer_is_told_with_how_events_are_asked() -> None:
    asked = {"branch": {"where": "value > 100"}, "then": [{"send": "cart/offer"}]}
    with pytest.raises(ScenarioError) as caught:
        check_against(program(steps=[{"wait": "1h"}, asked]), **LOG)
    (fault,) = caught.value.faults
    assert fault.message == 'customers have no such column, events have: write {trigger: "value > 100"}'
    assert (fault.found, fault.nearest) == ("value", None)


def test_an_empty_log_is_said_to_have_no_events() -> None:
    (found,) = check_against(program(), event_counts={}, properties={}, attributes={})
    assert found.allowed == "no events at all"


@pytest.mark.parametrize(
    ("changes", "path", "near"),
    [
        ({"trigger": {"event": "cart_add", "where": "valeu > 20"}}, "cart.trigger.where", "value"),
        ({"trigger": {"event": "cart_add", "where": "country = 'FR'"}}, "cart.trigger.where", None),
        ({"audience": "contry = 'FR'"}, "cart.audience.where", "country"),
        ({"audience": {"trigger": "valu > 1"}}, "cart.audience.trigger", "value"),
        ({"audience": {"any": [{"where": "vip"}]}}, "cart.audience.any[0].where", None),
        ({"audience": {"happened": {"event": "view", "where": "price > 1"}}}, "cart.audience.happened[0].where", None),
        ({"key": "order"}, "cart.key", "order_id"),
        (
            {"key": "order", "exit_on": [{"event": "view", "match": "order"}]},
            "cart.key",
            "order_id",
        ),
        ({"goal": {"event": "purchase", "within": "1d", "value": "worth"}}, "cart.goal.value", None),
        ({"trigger": {"date": "birthdy"}}, "cart.trigger.date", "birthday"),
        ({"trigger": {"cycle": "purchase", "after": "supply"}}, "cart.trigger.after", None),
        ({"trigger": {"cycle": "purchase", "after": {"median": "product"}}}, "cart.trigger.after.median", "product_id"),
        ({"trigger": {"inactive": "view", "for": "1d", "where": "x > 1"}}, "cart.trigger.where", None),
        (
            {"steps": [{"wait_for": {"event": "view", "within": "1d", "where": "vaule > 1"}}]},
            "cart.steps.wait_for.wait_for.where",
            "value",
        ),
        ({"steps": [{"branch": "birthda is null", "then": ["exit"]}]}, "cart.steps.branch.branch.where", "birthday"),
    ],
)
def test_a_column_that_is_not_there_is_a_fault_with_the_nearest(
    changes: dict[str, Any], path: str, near: str | None
) -> None:
    with pytest.raises(ScenarioError) as caught:
        check_against(program(**changes), **LOG)
    assert (caught.value.faults[0].path, caught.value.faults[0].nearest) == (path, near)


def test_columns_that_every_log_has_are_known() -> None:
    assert not check_against(
        program(
            trigger={"event": "cart_add", "where": "customer_id <> 'x' and at > '2026-01-01' and event_id is not null"},
            audience="consent and email like '%.fr' and timezone is not null and locale = 'fr' and customer_id > 'a'",
        ),
        **LOG,
    )


def test_columns_are_compared_with_what_they_hold() -> None:
    with pytest.raises(ScenarioError, match="a number and text cannot be compared"):
        check_against(program(trigger={"event": "cart_add", "where": "value = 'high'"}), **LOG)
    with pytest.raises(ScenarioError, match="not a date or time"):
        check_against(program(audience="birthday > 'May'"), **LOG)
    assert not check_against(program(trigger={"cycle": "purchase", "after": {"median": "customer"}}), **LOG)
    assert not check_against(program(trigger={"cycle": "purchase", "after": "value"}), **LOG)
    assert not check_against(program(trigger={"inactive": "purchase", "for": "1d", "since": "view"}), **LOG)


def test_what_is_not_given_is_not_checked() -> None:
    odd = program(trigger={"event": "zebra", "where": "stripes > 1"}, audience="stable = 'x'", goal=None)
    assert check(odd) == ()
    assert len(check(odd, events=["horse"])) == 1


def test_mails_that_are_not_there_are_faults_with_the_nearest() -> None:
    nested_send = program(steps=[{"branch": "consent", "then": [{"send": "cart/remindr"}]}])
    with pytest.raises(ScenarioError) as caught:
        check(nested_send, templates=["cart/reminder", "cart/offer"])
    (fault,) = caught.value.faults
    assert (fault.path, fault.nearest) == ("cart.steps.branch.then.remindr.send", "cart/reminder")
    assert check(program(), templates=["cart/reminder"]) == ()
    with pytest.raises(ScenarioError, match="it has none"):
        check(program(), templates=[])


@given(programs())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_scenarios_fit_a_log_of_the_shop(drawn: Program) -> None:
    properties = dict.fromkeys(SHOP.numbers, "number") | dict.fromkeys(SHOP.texts, "text")
    attributes = {"country": "text", "birthday": "time"}
    counts = dict.fromkeys(SHOP.events, 1)
    assert not [
        fault
        for fault in check_against(drawn, event_counts=counts, properties=properties, attributes=attributes)
        if "log" in fault.message
    ]


@pytest.mark.parametrize(
    ("trigger", "audience", "said"),
    [
        ("event: purchase", "not_happened: {event: purchase}", "never"),
        ("event: purchase", "happened: {event: purchase}", "always"),
        ("event: purchase, where: 'revenue > 5'", "happened: {event: purchase, where: 'revenue > 5'}", "always"),
        ("cycle: purchase, after: 30d", "not_happened: {event: purchase}", "never"),
        ("event: purchase", "happened: {event: purchase, at_least: 2}", None),
        ("event: purchase", "not_happened: {event: purchase, within: 1d}", None),
        ("event: purchase", "happened: {event: purchase, where: 'revenue > 5'}", None),
        ("inactive: purchase, for: 30d", "not_happened: {event: purchase, within: 30d}", None),
    ],
)
def test_a_condition_that_what_set_the_journey_off_decides_is_odd(
    trigger: str, audience: str, said: str | None
) -> None:
    text = f"{{scenario: x, trigger: {{{trigger}}}, audience: {{{audience}}}, reentry: every, steps: [{{send: a/b}}]}}"
    warnings = [fault.message for fault in check(loads(text))]
    assert warnings == ([] if said is None else [f"this is {said} so: what set the journey off counts (rule R12)"])
