"""The canonical form, and the hash of a program's content."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.scenario.strategies import SHOP, WILD, programs, scenarios
from toolkit.errors import ScenarioError
from toolkit.scenario.checks import check
from toolkit.scenario.models import Brand, Experiment, Policies, Program, Scenario, Sender
from toolkit.scenario.parameters import set_parameters
from toolkit.scenario.reading import load, loads
from toolkit.scenario.writing import content_hash, dump

LIBRARY = Path(__file__).parents[2] / "templates"
GENERATED = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)

CANONICAL = """\
scenario: abandoned_cart
priority: 60
trigger: {event: cart_add, where: "value >= 20"}
audience: "consent and country in ('FR', 'BE')"
reentry: {after: 7d}
while_active: restart
exit_on: [{event: purchase}]
goal: {event: purchase, within: 7d, value: revenue}
experiment: {name: cart_offer_1, arms: {control: 0.2, reminder: 0.4, discount: 0.4}, holdout: control}
steps:
  - id: pause
    wait: 4h
  - send: abandoned_cart/reminder
  - wait_for: {event: email_clicked, within: 1d}
    then: [exit]
    else:
      - send: abandoned_cart/offer
        offer: {percent: 10, valid: 3d}
        only: [discount]
  - id: again
    repeat: 2
    steps:
      - wait: {until: "09:00", on: [mon, thu]}
      - send: abandoned_cart/again
  - split: {name: s, arms: {a: 0.5, b: 0.5}}
    paths:
      a:
        - send: abandoned_cart/a
      b: []
  - branch: {not_happened: {event: "no", within: 30d}, any: [consent, {trigger: "value > 3"}]}
    then: [exit]
"""


def test_the_canonical_form_is_a_fixed_point() -> None:
    assert dump(loads(CANONICAL)["abandoned_cart"]) == CANONICAL


@given(scenarios(vocabulary=SHOP) | scenarios(vocabulary=WILD))
@GENERATED
def test_whatever_is_dumped_is_loaded_again(scenario: Scenario) -> None:
    text = dump(scenario)
    (again,) = loads(text).scenarios
    assert again == scenario
    assert dump(again) == text


@given(programs())
@GENERATED
def test_a_program_is_loaded_again_from_its_text_and_is_right(program: Program) -> None:
    assert loads(dump(program)) == program
    check(program)


leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
)
keys = st.text("ab: #'\"\n", max_size=4)


@given(st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=6))
@settings(max_examples=100, deadline=None)
def test_any_value_of_the_brand_is_loaded_again(value: object) -> None:
    policies = Policies(brand=Brand.model_validate({"name": "Shop", "free": value}))
    text = "scenario: x\ntrigger: {event: y}\nreentry: once\nsteps: [exit]\n---\n" + dump(policies)
    assert loads(text).policies == policies


def test_what_is_shipped_is_loaded_again() -> None:
    program = load(LIBRARY)
    assert loads(dump(program)) == program


def test_ids_that_reading_gives_back_are_not_written() -> None:
    steps = "[{id: wait_2, wait: 1h}, {id: wait, wait: 2h}, {id: wait_3, wait: 3h}, {id: hello, send: a/hello}]"
    program = loads(f"{{scenario: x, trigger: {{event: y}}, reentry: once, steps: {steps}}}")
    text = dump(program["x"])
    assert text.count("id:") == 1
    assert "id: wait_2" in text
    assert loads(text) == program


def test_long_values_are_broken_into_lines() -> None:
    arms = ", ".join(f"a_rather_long_name_of_an_arm_{i}: 0.125" for i in range(8))
    experiment = f"{{name: e, arms: {{{arms}}}}}"
    text = f"{{scenario: x, trigger: {{event: y}}, reentry: once, experiment: {experiment}, steps: [exit]}}"
    long = loads(text)["x"]
    assert "\n  arms:\n    a_rather_long_name_of_an_arm_0: 0.125\n" in dump(long)
    assert max(map(len, dump(long).splitlines())) < 110
    assert loads(dump(long))["x"] == long
    exits = ", ".join(f'{{event: some_event_number_{i}, where: "value > {i}"}}' for i in range(4))
    many = loads(text.replace("steps:", f"exit_on: [{exits}], steps:"))["x"]
    assert '\n  - {event: some_event_number_0, where: "value > 0"}\n' in dump(many)
    assert loads(dump(many))["x"] == many


def test_policies_without_a_word_are_written_as_such() -> None:
    assert dump(Policies()) == "{}\n"


@pytest.mark.parametrize("value", [{1, 2}, float("nan"), 2**60, [object()]])
def test_a_value_that_no_file_can_hold_is_refused(value: object) -> None:
    with pytest.raises(ScenarioError, match="that a file cannot hold"):
        dump(Policies(brand=Brand.model_validate({"name": "Shop", "free": value})))


# --- content hash -----------------------------------------------------------------------------------------------------


def test_the_hash_is_of_the_content_and_not_of_how_it_was_written() -> None:
    text = CANONICAL.replace("{after: 7d}", "{from: entry, after: 1w}").replace("priority: 60", "priority: 60 # high")
    assert content_hash(loads(text)) == content_hash(loads(CANONICAL))


def test_the_order_of_scenarios_does_not_count() -> None:
    program = load(LIBRARY)
    turned = program.replace(scenarios=program.scenarios[::-1])
    assert content_hash(turned) == content_hash(program)


def test_the_order_of_arms_counts() -> None:
    turned = CANONICAL.replace("control: 0.2, reminder: 0.4", "reminder: 0.4, control: 0.2")
    assert loads(turned) != loads(CANONICAL)
    assert content_hash(loads(turned)) != content_hash(loads(CANONICAL))
    assert len({Experiment(name="x", arms={"a": 0.5, "b": 0.5}), Experiment(name="x", arms={"b": 0.5, "a": 0.5})}) == 2


def test_any_change_of_scenario_policies_or_mails_changes_the_hash() -> None:
    program = load(LIBRARY)
    changed = [
        set_parameters(program, {"abandoned_cart.pause.wait": "240m1s"}),
        set_parameters(program, {"policies.caps[0].limit": 4}),
        program.replace(policies=program.policies.replace(sender=Sender(name="Other", email="o@example.com"))),
        program.replace(scenarios=program.scenarios[1:]),
    ]
    hashes = [content_hash(one) for one in [program, *changed]]
    hashes += [content_hash(program, templates={"welcome/hello": digest}) for digest in ("aa", "ab")]
    assert len(set(hashes)) == len(hashes)


def test_the_hash_is_sha_256_of_canonical_json() -> None:
    program = loads("{scenario: x, trigger: {event: y}, reentry: once, steps: [{wait: 1h}, {send: a}]}")
    content = {
        "language": 1,
        "policies": {},
        "scenarios": [
            {"reentry": "once", "scenario": "x", "steps": [{"wait": "1h"}, {"send": "a"}], "trigger": {"event": "y"}}
        ],
        "templates": {"a": "00"},
    }
    expected = hashlib.sha256(json.dumps(content, separators=(",", ":"), sort_keys=True).encode()).hexdigest()
    assert content_hash(program, templates={"a": "00"}) == expected
