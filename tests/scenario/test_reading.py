"""Scenarios and policies from YAML: what is read, and what is said when it cannot be."""

from __future__ import annotations

import contextlib
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import Fault, ScenarioError
from toolkit.scenario.checks import check
from toolkit.scenario.duration import Duration, TimeOfDay
from toolkit.scenario.models import (
    Condition,
    CycleTrigger,
    EventTrigger,
    ExitStep,
    Median,
    Program,
    ReentryAfter,
    Send,
    Wait,
    WaitFor,
    WaitUntil,
)
from toolkit.scenario.reading import load, loads
from toolkit.scenario.words import describe
from toolkit.scenario.writing import dump

ABANDONED_CART = """\
scenario: abandoned_cart
class: marketing
priority: 60
trigger: {event: cart_add, where: "value >= 20"}
audience: "consent and country in ('FR', 'BE')"
reentry: {after: 7d, from: entry}
while_active: restart            # a new cart_add starts the wait again
exit_on: [{event: purchase}]
goal: {event: purchase, within: 7d, value: revenue}
experiment: {name: cart_offer_1, arms: {control: 0.2, reminder: 0.4, discount: 0.4}, holdout: control}
steps:
  - id: pause
    wait: 4h
  - id: reminder
    send: abandoned_cart/reminder
  - wait_for: {event: email_clicked, within: 1d}
    then: [exit]
    else:
      - id: offer
        send: abandoned_cart/offer
        offer: {percent: 10, valid: 3d}
        only: [discount]         # arms that get this step
"""
SMALL = "scenario: small\ntrigger: {event: sign_up}\nreentry: once\nsteps: [{send: welcome/hello}]\n"


def faults(text: str) -> list[Fault]:
    with pytest.raises(ScenarioError) as caught:
        loads(textwrap.dedent(text), file="cart.yaml")
    return list(caught.value.faults)


def only_fault(text: str) -> Fault:
    (fault,) = faults(text)
    return fault


def with_line(line: str) -> str:
    key = line.partition(":")[0]
    return "\n".join([row for row in SMALL.splitlines() if not row.startswith(f"{key}:")] + [textwrap.dedent(line)])


def test_the_example_of_the_design_is_read_word_for_word() -> None:
    scenario = loads(ABANDONED_CART)["abandoned_cart"]
    assert scenario.priority == 60
    assert scenario.trigger == EventTrigger(event="cart_add", where="value >= 20")
    assert scenario.audience == Condition(where="consent and country in ('FR', 'BE')")
    assert scenario.reentry == ReentryAfter(after=Duration.parse("7d"))
    assert scenario.while_active == "restart"
    assert scenario.experiment is not None
    assert scenario.experiment.holdout == "control"
    pause, reminder, wait_for = scenario.steps
    assert pause == Wait(id="pause", wait=Duration.parse("4h"))
    assert isinstance(reminder, Send)
    assert isinstance(wait_for, WaitFor)
    assert wait_for.id == "wait_for"
    assert wait_for.then == (ExitStep(id="exit"),)
    (offer,) = wait_for.else_
    assert isinstance(offer, Send)
    assert offer.offer is not None
    assert (offer.offer.percent, offer.only) == (10, ("discount",))


def test_a_step_without_an_id_is_called_after_its_mail_or_its_kind() -> None:
    program = loads(
        SMALL.replace("[{send: welcome/hello}]", "[{wait: 1h}, {send: a/b}, {send: c/b}, {wait: 2h, id: b_2}]")
    )
    assert [step.id for step in program["small"].steps] == ["wait", "b", "b_3", "b_2"]


def test_words_that_older_yaml_takes_for_something_else_stay_words() -> None:
    program = loads(with_line("trigger: {date: birthday, at: 09:00, every: once}").replace("small", "no"))
    assert program["no"].trigger.at == TimeOfDay(9 * 60)
    wait = loads(SMALL.replace("[{send: welcome/hello}]", "[{wait: {until: 22:00, on: [mon, sun]}}, {send: off/on}]"))
    assert wait["small"].steps[0] == Wait(id="wait", wait=WaitUntil(until=TimeOfDay(22 * 60), on=("mon", "sun")))
    dated = loads(with_line("trigger: {schedule: once, from: 2026-11-27, at: '10:30'}"))
    assert dated["small"].trigger.from_ == "2026-11-27"


def test_a_yaml_1_1_directive_changes_nothing() -> None:
    text = "%YAML 1.1\n---\n" + with_line("trigger: {date: birthday, at: 09:00}")
    assert loads(text)["small"].trigger.at == TimeOfDay(9 * 60)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("30d", Duration(30)), ("days_supply", "days_supply"), ("{median: product_id}", Median(median="product_id"))],
)
def test_a_cycle_comes_after_a_duration_a_property_or_a_median(written: str, meant: object) -> None:
    trigger = loads(with_line(f"trigger: {{cycle: purchase, after: {written}}}"))["small"].trigger
    assert isinstance(trigger, CycleTrigger)
    assert trigger.after == meant


def test_one_history_needs_no_brackets() -> None:
    audience = loads(with_line("audience: {not_happened: {event: purchase, within: 30d}}"))["small"].audience
    assert audience is not None
    assert [history.event for history in audience.not_happened] == ["purchase"]


def test_documents_parted_by_lines_are_one_program() -> None:
    program = loads(SMALL + "---\n" + SMALL.replace("small", "other") + "---\ntimezone: Europe/Paris\n")
    assert [scenario.scenario for scenario in program.scenarios] == ["small", "other"]
    assert program.policies.timezone == "Europe/Paris"


def test_anchors_are_written_out() -> None:
    text = SMALL.replace("[{send: welcome/hello}]", "\n  - &again {wait: 1d}\n  - *again\n  - {send: a/b}")
    assert [str(step.wait) for step in loads(text)["small"].steps[:2]] == ["1d", "1d"]


# --- folders ----------------------------------------------------------------------------------------------------------


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_a_folder_is_a_program_of_all_scenarios_in_it_and_one_file_of_policies(tmp_path: Path) -> None:
    write(tmp_path, "b/scenario.yaml", SMALL)
    write(tmp_path, "a/deep/down/reminders.yaml", SMALL.replace("small", "alpha"))
    write(tmp_path, "a/brand.yaml", "colour: blue\n")
    write(tmp_path, "b/.ipynb_checkpoints/scenario-checkpoint.yaml", SMALL)
    write(tmp_path, "policies.yaml", "timezone: Europe/Paris\ncaps: [{limit: 3, per: 7d}]\n")
    program = load(tmp_path)
    assert [scenario.scenario for scenario in program.scenarios] == ["alpha", "small"]
    assert program.policies.caps[0].limit == 3


def test_one_scenario_takes_the_policies_beside_it_or_one_folder_above(tmp_path: Path) -> None:
    file = write(tmp_path, "library/cart/scenario.yaml", SMALL)
    write(tmp_path, "library/policies.yaml", "timezone: Europe/Paris\n")
    write(tmp_path, "policies.yaml", "timezone: Asia/Tokyo\n")
    assert load(file).policies.timezone == "Europe/Paris"
    assert load(file.parent).policies.timezone == "Europe/Paris"
    assert load(file, policies=tmp_path / "policies.yaml").policies.timezone == "Asia/Tokyo"
    write(tmp_path, "library/cart/policies.yaml", "timezone: Asia/Seoul\n")
    assert load(file).policies.timezone == "Asia/Seoul"


def test_without_a_file_of_policies_the_defaults_hold(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    assert load(write(folder, "scenario.yaml", SMALL)) == Program(scenarios=loads(SMALL).scenarios)


@pytest.mark.parametrize(
    ("name", "said"),
    [("scenaro.yaml", "did you mean 'scenario.yaml'?"), ("nothing/at/all.yaml", "no such file or folder")],
)
def test_a_file_that_is_not_there_is_named_with_the_nearest(tmp_path: Path, name: str, said: str) -> None:
    write(tmp_path, "scenario.yaml", SMALL)
    with pytest.raises(ScenarioError, match="no such file or folder") as caught:
        load(tmp_path / name)
    assert said in str(caught.value)


def test_a_folder_without_a_scenario_says_what_it_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"no scenario in this folder.*scenario\.yaml"):
        load(tmp_path)


def test_policies_that_are_not_there_are_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="no such file"):
        load(write(tmp_path, "scenario.yaml", SMALL), policies=tmp_path / "policy.yaml")


def test_two_files_of_policies_are_a_fault(tmp_path: Path) -> None:
    write(tmp_path, "scenario.yaml", SMALL)
    write(tmp_path, "policies.yaml", "{}")
    write(tmp_path, "more/policies.yaml", "{}")
    with pytest.raises(ScenarioError, match="a program has one policies file"):
        load(tmp_path)


def test_faults_of_all_files_come_at_once(tmp_path: Path) -> None:
    write(tmp_path, "a/scenario.yaml", SMALL.replace("sign_up}", "sign_up, wher: x}"))
    write(tmp_path, "b/scenario.yaml", SMALL.replace("once", "onc").replace("small", "second"))
    write(tmp_path, "c/scenario.yaml", "")
    (tmp_path / "d.yaml").write_bytes(b"scenario: caf\xe9\n")
    write(tmp_path, "policies.yaml", "timezone: Europe/Pris\ncaps: [{limit: 0, per: 7d}]\n")
    with pytest.raises(ScenarioError) as caught:
        load(tmp_path)
    where = [(Path(str(fault.file)).relative_to(tmp_path).as_posix(), fault.line) for fault in caught.value.faults]
    assert where == [
        ("a/scenario.yaml", 2),
        ("b/scenario.yaml", 3),
        ("c/scenario.yaml", 1),
        ("d.yaml", 1),
        ("policies.yaml", 1),
        ("policies.yaml", 2),
    ]


def test_what_can_never_be_comes_at_once_with_file_line_path_and_what_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "policies.yaml").write_text("timezone: Europe/Pari\n")
    (tmp_path / "cart.yaml").write_text(
        """\
scenario: cart
trigger: {event: cart_add}
reentry: every
exit_on: [{event: purchase}]
experiment: {name: e, arms: {control: 0.5, offer: 0.6}, holdout: control}
steps:
  - id: answer
    wait_for: {event: purchase, within: 1d}
    then: [{send: cart/thanks}]
  - id: gift
    branch: "consent"
    only: [offer]
    then: [{id: plain, send: cart/plain, only: [control]}]
  - exit
  - {id: late, send: cart/late}
"""
    )
    (tmp_path / "order.yaml").write_text(
        """\
scenario: order
class: transactional
trigger: {event: order_shipped}
reentry: every
steps:
  - send: order/shipped
    offer: {percent: 10}
"""
    )
    with pytest.raises(ScenarioError) as caught:
        load(tmp_path)
    found = [(Path(one.file or "").name, one.line, one.path, one.nearest) for one in caught.value.faults]
    assert found == [
        ("cart.yaml", 5, "experiment.arms", None),
        ("cart.yaml", 8, "steps.answer.wait_for.event", None),
        ("cart.yaml", 13, "steps.gift.then.plain.only", None),
        ("cart.yaml", 15, "steps.late", None),
        ("order.yaml", 7, "steps[0].offer", None),
        ("policies.yaml", 1, "timezone", "Europe/Paris"),
    ]
    assert all(one.allowed for one in caught.value.faults)


def test_two_scenarios_of_one_name_are_a_fault_that_names_both_places(tmp_path: Path) -> None:
    write(tmp_path, "a/scenario.yaml", SMALL)
    write(tmp_path, "b/scenario.yaml", "# again\n" + SMALL)
    with pytest.raises(ScenarioError) as caught:
        load(tmp_path)
    (fault,) = caught.value.faults
    assert fault.line == 2
    assert "a/scenario.yaml, line 1" in fault.message.replace("\\", "/")


# --- faults -----------------------------------------------------------------------------------------------------------


def test_every_fault_of_a_file_comes_at_once_with_line_path_and_nearest_word() -> None:
    found = faults(
        """\
        scenario: abandoned cart
        class: marketting
        trigger: {event: cart_add, wher: "value >= 20"}
        audience: "consent and countr in ('FR'"
        reentry: {after: 7 days, form: entry}
        exit_on: [{event: purchase, match: order_id}]
        experiment: {name: e, arms: {control: 0.2, offer: 0.9}, holdout: contrl}
        steps:
          - id: pause
            wait: 4 hrs
          - id: pause
            sned: abandoned_cart/reminder
          - wait_for: {event: email_clicked, within: 0s}
            then: [exti]
            else:
              - id: offer
                send: abandoned_cart/offer
                offer: {percent: 110}
                only: [ofer]
        """
    )
    assert [(fault.line, fault.path, fault.nearest) for fault in found] == [
        (1, "scenario", "abandoned_cart"),
        (2, "class", "marketing"),
        (3, "trigger.wher", "where"),
        (4, "audience", None),
        (5, "reentry.after", "7d"),
        (5, "reentry.form", "from"),
        (6, "exit_on[0].match", None),
        (7, "experiment.arms", None),
        (7, "experiment.holdout", "control"),
        (10, "steps.pause.wait", "4h"),
        (11, "steps.pause", "send"),
        (13, "steps[2].wait_for.within", None),
        (14, "steps[2].then[0]", "exit"),
        (18, "steps[2].else.offer.offer.percent", None),
        (19, "steps[2].else.offer.only[0]", "offer"),
    ]


@pytest.mark.parametrize(
    ("line", "message", "path", "near"),
    [
        ("priority: high", "expected a whole number", "priority", None),
        ("priority: '60'", "expected a whole number", "priority", None),
        ("priority: 101", "out of range", "priority", None),
        ("priority: yes", "expected a whole number", "priority", None),
        ("priority: true", "expected a whole number", "priority", None),
        ("reentry: [once]", "unknown word", "reentry", "once"),
        ("reentry: always", "unknown word", "reentry", "every"),
        ("reentry: evry", "unknown word", "reentry", "every"),
        ("reentry: {after: -1d}", "expected a duration longer than 0", "reentry.after", None),
        ("trigger: sign_up", "expected a trigger", "trigger", "{event: sign_up}"),
        ("trigger: {evnt: sign_up}", "expected a trigger", "trigger", "event"),
        ("trigger: {event: ''}", "is empty", "trigger.event", None),
        ("trigger: {event: 12}", "expected text", "trigger.event", None),
        ("trigger: {inactive: view}", "is required", "trigger.for", None),
        ("trigger: {inactive: view, for_: 3d, for: 3d}", "unknown key", "trigger.for_", "for"),
        ("trigger: {date: birthday, at: 9}", "expected a time of day", "trigger.at", "09:00"),
        ("quiet: {from: 22h, to: '08:00'}", "expected a time of day", "quiet.from", "22:00"),
        ("goal: purchase", "expected a mapping", "goal", "{event: purchase}"),
        ("audience: {happened: view}", "expected a list", "audience.happened", "[{event: view}]"),
        ("experiment: {name: x, arms: {a: 20, b: 0.8}}", "out of range", "experiment.arms.a", "0.2"),
        ("experiment: {name: x, arms: {a: 12.5%, b: 0.8}}", "expected a number", "experiment.arms.a", "0.125"),
        ("experiment: {name: x, arms: {a: 20%, b: 0.8}, holdout: a}", "expected a number", "experiment.arms.a", "0.2"),
        (
            "experiment: {name: x, arms: {a: 0.5, b: 0.5}, holdout: 0.1}",
            "expected the name of an arm",
            "experiment.holdout",
            None,
        ),
        (
            "experiment: {name: x, arms: {a: 0.5, b: 0.5}, holdout: 10%}",
            "expected the name of an arm",
            "experiment.holdout",
            None,
        ),
        ("steps: [{send: a/b, offer: {percent: 10%}}]", "expected a number", "steps[0].offer.percent", "10"),
        (
            "steps: [{split: {name: x, arms: {a: 50%, b: 0.5}}, paths: {a: [{send: a/b}], b: []}}]",
            "expected a number",
            "steps[0].split.arms.a",
            "0.5",
        ),
        ("trigger: {date: birthday, at: 9am}", "expected a time of day", "trigger.at", "09:00"),
        ("trigger: {date: birthday, every: yer}", "unknown word", "trigger.every", "year"),
        ("trigger: {cycle: purchase, after: 0d}", "expected a duration longer than 0", "trigger.after", None),
        ("trigger: {cycle: purchase, after: 30 days}", "expected a duration", "trigger.after", "30d"),
        ("trigger: {schedule: weekly}", "unknown word", "trigger.schedule", "week"),
        (
            "trigger: {schedule: 2026-12-01T09:00}",
            "unknown word",
            "trigger.schedule",
            "{schedule: once, from: 2026-12-01, at: '09:00'}",
        ),
        (
            "trigger: {schedule: {on: 2026-12-01}}",
            "unknown word",
            "trigger.schedule",
            "{schedule: once, from: 2026-12-01}",
        ),
        (
            "trigger: {schedule: once, at: 2026-12-01 9:30}",
            "expected a time of day",
            "trigger.at",
            "from: 2026-12-01, at: '09:30'",
        ),
        (
            "trigger: {schedule: once, from: 2026-12-01 09:00}",
            "cannot be used here",
            "trigger.from",
            "from: 2026-12-01, at: '09:00'",
        ),
        ("exit_on: {event: purchase}", "expected a list", "exit_on", "[{event: purchase}]"),
        ("exit_on: purchase", "expected a list", "exit_on", "[{event: purchase}]"),
        ("exit_on: [purchase]", "expected a mapping", "exit_on[0]", "{event: purchase}"),
        ("goal: {event: purchase}", "is required", "goal.within", None),
        ("quiet: {from: '22:00'}", "is required", "quiet.to", None),
        ("quiet: {from: '22:00', to: '22:00'}", "quiet hours end when they begin", "quiet.to", None),
        ("caps: [{limit: 1.5, per: 7d}]", "expected a whole number", "caps[0].limit", None),
        ("caps: [{limit: 2, per: 7}]", "expected a duration", "caps[0].per", None),
        (
            "experiment: {name: x, arms: {1: 0.5, b: 0.5}}",
            "not a name that can be used here",
            "experiment.arms.1",
            None,
        ),
        ("experiment: {name: x, arms: [a, b]}", "expected a mapping", "experiment.arms", None),
        ("reentry: never", "unknown word", "reentry", "once"),
        ("scenario: Rückgewinnung", "not a name that can be used here", "scenario", "Rueckgewinnung"),
        ("caps: {limit: 1, per: 7d}", "expected a list", "caps", "[{limit: 1, per: 7d}]"),
        ("caps: [{limit: 1, per: 2 Wochen}]", "expected a duration", "caps[0].per", "2w"),
        ("trigger: {date: birthday, offset: 3 days before}", "expected a duration", "trigger.offset", "-3d"),
        ("holdout: 0.1", "unknown key", "holdout", "experiment"),
        ("audience: \"country is 'DE'\"", "not allowed in a condition", "audience", "country = 'DE'"),
        ("audience: a && b || c = 'x&&y'", "not a condition in SQL", "audience", "a and b or c = 'x&&y'"),
        ("audience: value >= 19,90", "not a condition in SQL", "audience", "value >= 19.90"),
        ("audience: birthday > 01.05.1990", "not allowed in a condition", "audience", "'1990-05-01'"),
        ("steps: [{delay: 4h}]", "expected a step", "steps[0]", "wait"),
        ("steps: [{if: a, then: []}]", "expected a step", "steps[0]", "branch"),
        ("steps: [{send: a/b, coupon: {percent: 5}}]", "unknown key", "steps[0].coupon", "offer"),
        ("steps: [{send: a/b, offer: {amount: 5€}}]", "expected a number", "steps[0].offer.amount", "5"),
        ("steps: [{send: Körbe/Größe 1}]", "not a name that can be used here", "steps[0].send", "Koerbe/Groesse_1"),
        ("steps: [{wait: {until: '09:00', on: [Dienstag]}}]", "unknown word", "steps[0].wait.on[0]", "tue"),
        ("steps: []", "is empty", "steps", None),
        ("steps:", "expected a list", "steps", None),
        ("steps: [{send: welcome/hello.mjml}]", "not a name that can be used here", "steps[0].send", "welcome/hello"),
        ("steps: [{send: a/b, wait: 4h}]", "a step does one thing", "steps[0].send", None),
        ("steps: [{exit: false}]", "unknown word", "steps[0].exit", None),
        ("steps: [{id: 1st, send: a/b}]", "not a name that can be used here", "steps[0].id", None),
        (
            "steps: [{send: a/b, offer: {free_shipping: 1}}]",
            "expected true or false",
            "steps[0].offer.free_shipping",
            None,
        ),
        ("steps: [{send: a/b, offer: {percent: ten}}]", "expected a number", "steps[0].offer.percent", None),
        ("steps: [{wait: {until: '25:00'}}, {send: a/b}]", "expected a time of day", "steps[0].wait.until", None),
        ("steps: [{wait: {until: '09:00', on: [monday]}}]", "unknown word", "steps[0].wait.on[0]", "mon"),
    ],
)
def test_a_fault_says_what_is_wrong_and_where(line: str, message: str, path: str | None, near: str | None) -> None:
    text = with_line(line)
    fault = only_fault(text)
    assert fault.message.startswith(message)
    assert (fault.path, fault.nearest, fault.file) == (path, near, "cart.yaml")
    assert fault.line == len(text.splitlines())


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("scenario: {{ name }}\nreentry: once", 1, "scenario: {{ name }}"),
        ("scenario:x\ntrigger: {event: a}", 1, "scenario:x"),
        ("scenario: x\nreentry once\n\ntrigger: {event: a}", 2, "reentry once"),
        ("scenario: x\nreentry: once\nsteps:\n  - send:a/b\n    offer: {percent: 10}", 4, "- send:a/b"),
    ],
)
def test_what_is_not_yaml_is_shown_where_the_slip_is(text: str, line: int, found: str) -> None:
    fault = only_fault(text)
    assert (fault.line, fault.found) == (line, found)
    assert fault.allowed


def test_a_list_or_mapping_where_none_belongs_is_shown_as_it_was_written() -> None:
    assert only_fault(with_line("exit_on: {event: purchase}")).found == "{event: purchase}"
    assert only_fault(with_line("scenario: [a, {b: true}]")).found == "[a, {b: true}]"
    assert only_fault(with_line("steps: [{send: }]")).found == "nothing"


def test_an_allowed_word_is_always_named() -> None:
    assert "wait, wait_for, send" in str(only_fault(with_line("steps: [{wiat: 4h}]")))
    assert "once, every, {after: 7d}" in str(only_fault(with_line("reentry: never")))
    assert "skip, postpone, exit" in str(only_fault(with_line("caps: [{limit: 1, per: 1d, on_hit: drop}]")))
    assert "event, where" in str(only_fault(with_line("trigger: {event: x, were: y}")))


def test_what_is_missing_is_said_once_and_hides_no_other_fault() -> None:
    found = faults("scenario: x\nprioriti: 3\nsteps:\n- send: a/b\n  only: [x]\n")
    assert [(fault.message, fault.path) for fault in found] == [
        ("is required", "trigger"),
        ("is required", "reentry"),
        ("unknown key", "prioriti"),
        ("`only` needs an experiment with these arms", "steps[0].only"),
    ]
    assert found[1].allowed == "once, every, {after: 7d}"


def test_a_part_that_could_not_be_read_brings_no_fault_about_what_it_would_have_said() -> None:
    found = faults(with_line("experiment: {name: x, arms: {a: 1.5, b: 0.5}}").replace("hello}", "hello, only: [a]}"))
    assert [fault.path for fault in found] == ["experiment.arms.a"]
    found = faults(with_line("key: order id") + "\nexit_on: [{event: x, match: order_id}]")
    assert [fault.path for fault in found] == ["key"]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "the file is empty"),
        ("# nothing but words\n", 1, "the file is empty"),
        ("---\nnull", 2, "there is nothing in it"),
        ("- scenario: x\n", 1, "expected a mapping; found a list"),
        ("just words\n", 1, "expected a mapping; found only one value"),
        ("scenario: x\n\ttrigger: y\n", 2, "a tab"),
        ("scenario:\n\tx: y\n", 2, "a tab"),
        ("scenario: a: b\n", 1, "mapping values are not allowed"),
        ("scenario: [a\n", 2, "not YAML"),
        ("scenario: x\nsteps: *later\n", 2, "no finished anchor"),
        ("scenario: &a [*a]\n", 1, "no finished anchor"),
        ("scenario: x\n\x07: y\n", 2, "U+0007"),
        ("? [a, b]\n: c\n", 1, "a key that is a list"),
        ("a: &a x\n*a : y\n", 2, "an alias as a key"),
        ("x: " + "[" * 101 + "]" * 101, 1, "nested deeper than 100"),
        ('scenario: x\nkey: "\\UFFFFFFFF"\n', 2, "no such character"),
        ("x: [" + "1," * 20_000 + "]", 1, "more than 20,000 values"),
        ("x: '" + "y" * 262_144 + "'", None, "the file is too long"),
    ],
)
def test_what_is_not_a_scenario_gives_one_fault_with_its_line(text: str, line: int | None, said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        loads(text, file="cart.yaml")
    (fault,) = caught.value.faults
    assert said in str(fault)
    assert (fault.file, fault.line) == ("cart.yaml", line)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_damaged_file_is_read_or_refused_and_never_breaks(data: st.DataObject) -> None:
    text = ABANDONED_CART
    words = (": ", "- ", "\n", "  ", "? ", "<<: ", "---\n", "null", "1e999", ".inf")
    pieces = st.sampled_from([*"{}[]'\"|>#%\t\x00é*&!,", *words])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text)))
        text = text[:place] + data.draw(pieces) + text[place + data.draw(st.integers(0, 6)) :]
    with contextlib.suppress(ScenarioError):
        program = loads(text)
        assert loads(dump(program)) == program


def test_aliases_that_unfold_without_end_are_stopped() -> None:
    wide = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
    )
    assert "aliases that unfold to more than 20,000 values" in str(only_fault(wide))
    deep = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 200))
    assert "aliases that unfold to more than 100 levels" in str(only_fault(deep))


def test_duplicate_keys_merge_keys_and_tags_are_faults_beside_the_others() -> None:
    found = faults(
        SMALL
        + "reentry: every\n<<: {priority: 3}\nkey: !!python/name:os.system x\n"
        + "priority: 99999999999999999999\nclas: marketing\n"
    )
    assert [(fault.line, fault.message.split(",")[0]) for fault in found] == [
        (5, "the key stands twice"),
        (6, "merge keys are not part of the language"),
        (7, "tags are not part of the language"),
        (8, "not a number that can be counted with"),
        (8, "expected a whole number"),
        (9, "unknown key"),
    ]


def test_bytes_that_are_not_utf_8_give_their_line(tmp_path: Path) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_bytes(b"scenario: small\n# caf\xe9\n")
    with pytest.raises(ScenarioError, match="not UTF-8; found 'byte 0xE9'") as caught:
        load(file)
    assert caught.value.faults[0].line == 2


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode())
    assert load(file)["small"].reentry == "once"


def test_policies_that_say_nothing_have_to_say_so(tmp_path: Path) -> None:
    file = write(tmp_path, "scenario.yaml", SMALL)
    write(tmp_path, "policies.yaml", "# caps: to come\n")
    with pytest.raises(ScenarioError, match=r"the file is empty.*{} where the defaults are meant"):
        load(file)
    write(tmp_path, "policies.yaml", "{}\n")
    assert load(file)["small"].scenario == "small"


def test_policies_stand_once_in_a_text() -> None:
    with pytest.raises(ScenarioError, match="policies a second time"):
        loads(SMALL + "---\ntimezone: UTC\n---\nlocale: fr\n")


def test_policies_in_a_second_file_name_the_first(tmp_path: Path) -> None:
    write(tmp_path, "scenario.yaml", SMALL + "---\ntimezone: UTC\n")
    write(tmp_path, "policies.yaml", "locale: fr\n")
    with pytest.raises(ScenarioError, match=r"policies\.yaml:1: .* second time, after those of .*scenario\.yaml"):
        load(tmp_path)


def test_an_unknown_scenario_is_named_with_the_nearest() -> None:
    with pytest.raises(KeyError, match="did you mean 'small'"):
        loads(SMALL)["smal"]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("trigger: {event: x", 1, "the { of line 1 is not closed, or a comma is missing"),
        ("steps: [{send: a/b}\nreentry: once", 2, "the [ of line 1 is not closed, or a comma is missing"),
        ('trigger: {event: x, where: "country = "FR""}', 1, "the { of line 1 is not closed, or a comma is missing"),
        ('a: 1\ntrigger: {where: "value > 3}\nb: 2', 3, "a quote of line 2 is not closed"),
        ("audience: 'FR' = country", 1, "this does not fit what stands above it"),
        ("steps:\n  - send: a/b\n   - send: a/c", 3, "this does not fit what stands above it"),
    ],
)
def test_what_is_not_yaml_is_said_without_the_parsers_words(text: str, line: int, said: str) -> None:
    fault = only_fault(text)
    assert (fault.line, fault.message) == (line, f"not YAML: {said}")
    assert fault.allowed


def test_policies_with_a_mistyped_key_are_still_policies() -> None:
    fault = only_fault(SMALL + "\n---\nquite: {from: '22:00', to: '08:00'}\n")
    assert (fault.message, fault.nearest) == ("unknown key", "quiet")


@pytest.mark.parametrize(
    ("policies", "allowed"),
    [
        ("sender: {name: '', email: a@example.org}", "at least one character"),
        ("sender: {name: Ana, email: here}", "an address such as hello@example.com"),
        (
            "sender: {name: Ana, email: a@example.com, bounces: b+c@example.com}",
            "at most 31 letters before the @, and no +",
        ),
        ("tracking: {url: http://example.com}", "a link that begins with https://"),
        ("tracking: {url: http://localhost.example.com}", "http:// leads to this machine alone"),
        ("tracking: {url: http://localhost@example.com/}", "http:// leads to this machine alone"),
        ("tracking: {url: http://127.0.0.2:8080}", "http:// leads to this machine alone"),
        ("tracking: {url: 'http://[::2]:8080'}", "http:// leads to this machine alone"),
        ("tracking: {url: http://0.0.0.0:8080}", "http:// leads to this machine alone"),
        ("test_copies: {domains: [ana@example.com]}", "a domain such as example.com"),
        ("test_copies: {domains: [bücher.example]}", "as the DNS has it, with xn--"),
        ("test_copies: {domains: []}", "at least one"),
    ],
)
def test_what_is_allowed_is_said_of_the_value_that_is_wrong(policies: str, allowed: str) -> None:
    fault = only_fault(f"{SMALL}\n---\n{policies}\n")
    assert fault.allowed is not None
    assert allowed in fault.allowed


def test_what_is_no_path_and_no_yaml_is_told() -> None:
    wrong: Any = 3
    for call in (lambda: load(wrong), lambda: load("templates", policies=wrong)):
        with pytest.raises(ScenarioError, match="found 3; allowed: the path of a file or a folder"):
            call()
    with pytest.raises(ScenarioError, match="expected YAML text; load reads files; found 'int'"):
        loads(wrong)
    with pytest.raises(ScenarioError, match="the name of a file, not YAML"):
        loads("templates/welcome/scenario.yaml")
    with pytest.raises(ScenarioError, match="expected a scenario, policies or a program"):
        describe(wrong)
    with pytest.raises(ScenarioError, match="expected a scenario, policies or a program; found 'int'"):
        dump(wrong)
    with pytest.raises(ScenarioError, match="expected a program"):
        check(wrong)


def test_a_number_of_four_hundred_digits_is_no_duration() -> None:
    fault = only_fault(with_line("steps: [{wait: " + "9" * 400 + "h}, {send: a/b}]"))
    assert (fault.path, fault.allowed) == ("steps[0].wait", "at most 36500 days")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("timezone: Europe/Paris", "this belongs in policies.yaml"),
        ("sender: {name: Ana, email: ana@example.org}", "this belongs in policies.yaml"),
        ("send: a/b", "this belongs in a step"),
        ("offer: {percent: 10}", "this belongs in a step"),
    ],
)
def test_a_key_that_belongs_elsewhere_is_told_where(line: str, said: str) -> None:
    assert only_fault(f"{SMALL}\n{line}\n").message.startswith(said)
    fault = only_fault(f"{SMALL}\n---\ntimezone: UTC\ngoal: {{event: x, within: 1d}}\n")
    assert fault.message == "this belongs in a scenario, not in policies"


def test_yaml_faults_of_several_files_are_told_at_once_each_with_its_file(tmp_path):
    for name in ("a", "b", "c", "d", "e", "f", "g"):
        (tmp_path / f"{name}.yaml").write_text("scenario: x\nsteps: [\nreentry: }\n")
    with pytest.raises(ScenarioError) as told:
        load(tmp_path)
    assert [Path(fault.file).name for fault in told.value.faults] == [f"{name}.yaml" for name in "abcdefg"]
    elsewhere = ", ".join(f"{tmp_path / name}.yaml:3" for name in "bcdef")
    assert str(told.value).endswith(f"(and at {elsewhere}, 1 more place)")
    assert str(told.value).startswith(f"{tmp_path}/a.yaml:3: not YAML")


def test_a_document_that_is_no_yaml_hides_no_fault_of_the_others_in_its_file():
    text = (
        "timezone: Mars/Base\n---\nscenario: a\ntrigger: {evnt: x}\nreentry: once\nsteps: [{send: a/b}]\n"
        "---\nscenario: b\ntrigger: {event: [x\nreentry: once\n"
        "--- # the last\nscenario: c\ntrigger: {event: x\n"
    )
    with pytest.raises(ScenarioError) as told:
        loads(text)
    assert [(fault.line, fault.message.partition(":")[0]) for fault in told.value.faults] == [
        (1, "unknown time zone"),
        (4, "expected a trigger"),
        (10, "not YAML"),
        (14, "not YAML"),
    ]


def test_a_lost_document_may_have_been_the_policies_so_nothing_is_said_of_what_they_hold():
    steps = "steps: [{send: a/b, offer: {percent: 5, pool: gifts}}]"
    text = f"pools: {{gifts: {{size: 3}}\n---\nscenario: a\ntrigger: {{event: x}}\nreentry: once\n{steps}\n"
    with pytest.raises(ScenarioError) as told:
        loads(text)
    assert [fault.message.partition(":")[0] for fault in told.value.faults] == ["not YAML"]
