"""Scenarios in plain English."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.scenario.strategies import programs
from toolkit.scenario.checks import check
from toolkit.scenario.duration import Duration
from toolkit.scenario.models import Program, Send, every_step
from toolkit.scenario.reading import load, loads
from toolkit.scenario.words import describe

LIBRARY = Path(__file__).parents[2] / "templates"


def words(text: str) -> list[str]:
    return loads(textwrap.dedent(text)).scenarios[0].describe().splitlines()


def trigger(text: str) -> str:
    return words(f"{{scenario: x, trigger: {text}, reentry: once, steps: [exit]}}")[1]


def steps(text: str, **more: str) -> list[str]:
    rest = "".join(f", {key}: {value}" for key, value in more.items())
    described = words(f"{{scenario: x, trigger: {{event: a}}, reentry: once{rest}, steps: {text}}}")
    return described[next(place for place, line in enumerate(described) if line.startswith("1.")) :]


def test_the_abandoned_cart_reads_as_a_marketer_would_say_it() -> None:
    assert words(
        """\
        scenario: abandoned_cart
        priority: 60
        trigger: {event: cart_add, where: "value >= 20"}
        audience: "consent and country in ('FR', 'BE')"
        reentry: {after: 7d, from: entry}
        while_active: restart
        exit_on: [{event: purchase}]
        goal: {event: purchase, within: 7d, value: revenue}
        experiment: {name: cart_offer_1, arms: {control: 0.2, reminder: 0.4, discount: 0.4}, holdout: control}
        steps:
          - {id: pause, wait: 4h}
          - {id: reminder, send: abandoned_cart/reminder}
          - wait_for: {event: email_clicked, within: 1d}
            then: [exit]
            else:
              - {id: offer, send: abandoned_cart/offer, offer: {percent: 10, valid: 3d}, only: [discount]}
        """
    ) == [
        "abandoned_cart (marketing, priority 60)",
        "When a customer adds to the cart (value >= 20), a journey begins, for customers where "
        "`consent and country in ('FR', 'BE')`.",
        "It can begin again 7 days after the last one began, no sooner.",
        "If that happens again before the first mail, the journey starts over.",
        "Nobody gets a mail without consent to marketing.",
        "If they buy at any point, the journey ends.",
        "It has worked when they buy within 7 days of entry; `revenue` says what it was worth.",
        "20% get nothing, as control; 40% are in reminder; 40% are in discount.",
        "The draw is called cart_offer_1; each customer stays in one arm.",
        "1. Wait 4 hours.",
        "2. Send `abandoned_cart/reminder`.",
        "3. Wait up to 1 day for them to click in a mail.",
        "   If they do: the journey ends.",
        "   If they do not:",
        "   3.1. Send `abandoned_cart/offer` with 10% off, valid 3 days. Only for discount; others pass by.",
    ]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{event: sign_up}", "When a customer signs up, a journey begins."),
        ("{event: back_in_stock}", "When a customer does `back_in_stock`, a journey begins."),
        (
            "{date: birthday, offset: -7d}",
            "7 days before the date in `birthday`, every year, at 09:00 local time, a journey begins.",
        ),
        (
            "{date: expiry, every: once, offset: 1d12h, at: 10:30}",
            "1 day and 12 hours after the date in `expiry`, once, at 10:30 local time, a journey begins.",
        ),
        ("{date: birthday}", "On the date in `birthday`, every year, at 09:00 local time, a journey begins."),
        (
            "{inactive: purchase, for: 60d, since: sign_up}",
            "When 60 days have passed in which a customer did not buy (or, where they never did, since they signed up),"
            " a journey begins.",
        ),
        (
            "{inactive: view, where: value > 1, for: 2d}",
            "When 2 days have passed in which a customer did not view a product (value > 1), a journey begins.",
        ),
        ("{cycle: purchase, after: 30d}", "30 days after a customer buys, a journey begins."),
        (
            "{cycle: purchase, after: days_supply}",
            "When the days in `days_supply` have passed after a customer buys, a journey begins.",
        ),
        (
            "{cycle: purchase, after: {median: customer}}",
            "When the usual time between two (the median so far for this customer) has passed after a customer buys, "
            "a journey begins.",
        ),
        (
            "{cycle: purchase, after: {median: product_id}}",
            "When the usual time between two (the median so far for this `product_id`) has passed after a customer "
            "buys, a journey begins.",
        ),
        ("{schedule: once, from: 2026-11-27}", "On 2026-11-27 at 09:00 local time, a journey begins."),
        (
            "{schedule: day, from: 2026-11-01, to: 2026-11-30}",
            "Every day at 09:00 local time from 2026-11-01 until 2026-11-30, a journey begins.",
        ),
        (
            "{schedule: week, on: [mon, wed, fri], at: 18:00}",
            "Every Monday, Wednesday and Friday at 18:00 local time, a journey begins.",
        ),
        ("{schedule: month, day: 31}", "On day 31 of each month at 09:00 local time, a journey begins."),
    ],
)
def test_every_kind_of_trigger_has_its_sentence(written: str, said: str) -> None:
    assert trigger(written) == said


def test_an_audience_is_told_with_its_history() -> None:
    said = words(
        """\
        scenario: x
        trigger: {event: purchase}
        audience:
          where: "consent"
          trigger: "revenue > 50"
          happened: [{event: view, within: 7d, at_least: 3}, {event: sign_up}]
          not_happened: [{event: email_opened, within: 30d}, {event: refund, where: "revenue > 5"}]
          any: ["country = 'FR'", {happened: {event: order_paid}}]
        reentry: every
        steps: [exit]
        """
    )[1]
    assert said == (
        "When a customer buys, a journey begins, for customers where `consent` and for whom what set it off has "
        "`revenue > 50` and who viewed a product at least 3 times in the last 7 days and who signed up before and who "
        "did not open a mail in the last 30 days and who did not do `refund` (revenue > 5) so far and (where "
        "`country = 'FR'` or who paid for an order before)."
    )


def test_keys_parallel_journeys_and_late_triggers_are_told() -> None:
    assert words(
        """\
        scenario: x
        trigger: {event: order_placed}
        key: order_id
        reentry: {after: 1d, from: exit}
        while_active: parallel
        max_age: 1h
        exit_on: [{event: order_delivered, match: order_id}]
        quiet: {from: "22:00", to: "08:00"}
        caps: [{limit: 1, per: 1d, on_hit: exit}, {limit: 2, per: 7d, scope: scenario, on_hit: postpone}]
        experiment: {name: e, arms: {a: 0.333333, b: 0.666667}, holdout: b, unit: journey}
        steps: [exit]
        """
    )[1:] == [
        "When a customer places an order, a journey begins for each `order_id`.",
        "It can begin again 1 day after the last one for each `order_id` ended, no sooner.",
        "If that happens again on the way, another journey runs beside the first.",
        "What we learn of more than 1 hour late starts nothing.",
        "Nobody gets a mail without consent to marketing.",
        "If they get an order delivered with the same `order_id` at any point, the journey ends.",
        "33.33% are in a; 66.67% get nothing, as control (b).",
        "The draw is called e; each journey is drawn anew.",
        "No mail from 22:00 to 08:00 local time; what falls in it leaves at 08:00. This replaces the quiet hours of "
        "the program.",
        "At most 1 marketing mail a person in any 1 day, of all scenarios together: a mail beyond that ends the "
        "journey.",
        "At most 2 mails a person in any 7 days, of this scenario: a mail beyond that waits for the first free moment.",
        "1. The journey ends.",
    ]


def test_of_a_transactional_scenario_no_quiet_hours_and_caps_are_told_that_it_ignores() -> None:
    assert words(
        """\
        scenario: x
        class: transactional
        trigger: {event: order_placed}
        reentry: every
        quiet: {from: "22:00", to: "08:00"}
        caps: [{limit: 1, per: 1d, on_hit: exit}]
        steps: [exit]
        """
    )[1:] == [
        "When a customer places an order, a journey begins.",
        "It begins anew every time.",
        "These mails go out whatever the consent, the caps and the quiet hours.",
        "1. The journey ends.",
    ]


def test_every_kind_of_step_has_its_sentence() -> None:
    text = """[
      {wait: {until: "09:00"}}, {wait: {until: "10:00", on: [sat, sun]}}, {wait: 0s}, {wait: 90s},
      {wait_for: {event: purchase, where: "revenue > 5", within: 2d, since: step, match: order_id},
       then: [{send: a/b}]},
      {branch: {happened: {event: view}}, then: [{send: a/c}, exit]},
      {split: {name: s, arms: {a: 0.5, b: 0.5}, unit: journey}, paths: {a: [{wait: 1d}], b: [exit]}},
      {repeat: 3, steps: [{wait: 1h}, {repeat: 1, steps: [{send: a/d}]}]}
    ]"""
    assert steps(text, key="order_id") == [
        "1. Wait until 09:00 local time.",
        "2. Wait until 10:00 local time on Saturday or Sunday.",
        "3. Wait 0 seconds.",
        "4. Wait 1 minute and 30 seconds.",
        "5. Wait up to 2 days for them to buy (revenue > 5) with the same `order_id` from here on.",
        "   If they do:",
        "   5.1. Send `a/b`.",
        "   If they do not: go on.",
        "6. Is this a customer who viewed a product before?",
        "   If so:",
        "   6.1. Send `a/c`.",
        "   6.2. The journey ends.",
        "   If not: go on.",
        "7. Divide journeys at random (s).",
        "   50% (a):",
        "   7.1. Wait 1 day.",
        "   50% (b): the journey ends.",
        "8. Do this 3 times.",
        "   Each time:",
        "   8.1. Wait 1 hour.",
        "   8.2. Do this once.",
        "      Each time:",
        "      8.2.1. Send `a/d`.",
    ]


@pytest.mark.parametrize(
    ("offer", "said"),
    [
        ("{percent: 12.5}", "12.5% off"),
        ("{amount: 5, currency: CHF, minimum: 30}", "5 CHF off, from 30 on"),
        ("{amount: 7.5, currency: EUR}", "€7.5 off"),
        ("{amount: 5}", "5 of the shop’s currency off"),
        ("{percent: 10, free_shipping: true, code: LUNE10}", "10% off and free shipping, code LUNE10"),
        ("{free_shipping: true, pool: s}", "free shipping, a code of the pool s (when it is empty, no mail)"),
        (
            "{percent: 5, pool: s, on_empty: send_without}",
            "5% off, a code of the pool s (when it is empty, the mail goes without)",
        ),
    ],
)
def test_every_offer_has_its_words(offer: str, said: str) -> None:
    program = loads(
        f"{{scenario: x, trigger: {{event: a}}, reentry: once, steps: [{{send: a, offer: {offer}}}]}}\n"
        "---\npools: {s: {size: 3}}\n"
    )
    assert f"1. Send `a` with {said}." in program.describe().splitlines()


def test_policies_are_told_after_the_scenarios() -> None:
    said = load(LIBRARY).describe()
    assert said.index("abandoned_cart (marketing") < said.index("For all scenarios")
    assert "The sender is Maison Lune <hello@example.com>." in said
    program = loads(
        "{scenario: x, trigger: {event: a}, reentry: once, steps: [exit]}\n---\n"
        "{pools: {s: {size: 3}, t: {file: codes.csv}, u: {size: 2, file: u.csv}},"
        " sender: {name: A, email: a@example.com, reply_to: b@example.com, bounces: c@example.com},"
        " test_copies: {domains: [a.example, b.example]}}\n"
    )
    assert describe(program.policies).splitlines()[-5:] == [
        "The sender is A <a@example.com>; answers go to b@example.com; bounces come to c@example.com.",
        "The pool s holds 3 codes.",
        "The pool t holds the codes of codes.csv.",
        "The pool u holds 2 codes, those of u.csv.",
        "Test copies go to addresses at a.example and b.example alone.",
    ]


def test_where_an_unsubscribe_goes_is_told_as_it_is() -> None:
    text = (
        "{{scenario: x, trigger: {{event: a}}, reentry: once, steps: [{{send: x/a}}]}}\n---\n"
        "{{tracking: {{url: 'https://mail.example.com', clicks: false}}, brand: {{name: A{}}}}}\n"
    )
    program = loads(text.format(""))
    assert (
        describe(program.policies).splitlines()[-1] == "Unsubscribes and opens come home to https://mail.example.com."
    )
    assert check(program) == ()
    elsewhere = loads(text.format(", unsubscribe_url: 'https://shop.example.com/u/{token}'"))
    assert describe(elsewhere.policies).splitlines()[-2:] == [
        "Opens come home to https://mail.example.com.",
        "Who unsubscribes is led to https://shop.example.com/u/{token}.",
    ]
    assert [(fault.path, fault.message) for fault in check(elsewhere)] == [
        ("policies.brand.unsubscribe_url", "the tracker hears of no unsubscribe")
    ]


@given(programs())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_nothing_that_matters_is_left_out(program: Program) -> None:
    said = program.describe()
    assert ("There are no quiet hours for all" in said) == (program.policies.quiet is None)
    assert ("Nothing limits how many marketing mails" in said) == (not program.policies.caps)
    for scenario in program.scenarios:
        for step in every_step(scenario.steps):
            if isinstance(step, Send):
                assert f"Send `{step.send}`" in said
            for arm in step.only:
                assert arm in said
        for text in [match.where for match in scenario.exit_on] + [scenario.audience and scenario.audience.where]:
            assert text is None or text in said
    assert "None" not in said


def test_a_negative_length_of_time_is_refused_where_it_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="of one sign"):
        Duration(1, -1)


@pytest.mark.parametrize(
    ("audience", "said"),
    [
        ("happened: {event: purchase, at_least: 2}", "who bought at least 2 times so far (what set it off counts)"),
        (
            "not_happened: {event: purchase, at_least: 2}",
            "who did not buy at least 2 times so far (what set it off counts)",
        ),
        ("happened: {event: purchase, where: 'revenue > 90'}", "who bought (revenue > 90) before"),
        ("happened: {event: view}", "who viewed a product before"),
    ],
)
def test_it_is_told_where_what_set_a_journey_off_counts(audience: str, said: str) -> None:
    rest = "trigger: {event: purchase}, reentry: every, steps: [{send: a/b}]"
    text = f"{{scenario: x, audience: {{{audience}}}, {rest}}}"
    assert f", for customers {said}." in words(text)[1]
