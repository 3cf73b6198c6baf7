"""JSON Schema of the language."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator

from tests.scenario.strategies import WILD, programs, scenarios
from toolkit.errors import InputError, ScenarioError
from toolkit.scenario.document import read
from toolkit.scenario.models import Policies, Program, Scenario
from toolkit.scenario.reading import loads
from toolkit.scenario.schema import schema, write_schema
from toolkit.scenario.writing import dump, plain

LIBRARY = Path(__file__).parents[2] / "templates"
SCENARIO = Draft202012Validator(schema()["scenario"])
POLICIES = Draft202012Validator(schema()["policies"])


def data(text: str) -> object:
    return read(text)[0][0].plain()


def test_both_schemas_are_schemas() -> None:
    for made in schema().values():
        Draft202012Validator.check_schema(made)


def test_every_file_that_is_shipped_is_valid() -> None:
    files = sorted(LIBRARY.rglob("scenario.yaml"))
    assert len(files) >= 3
    for file in files:
        SCENARIO.validate(data(file.read_text(encoding="utf-8")))
    POLICIES.validate(data((LIBRARY / "policies.yaml").read_text(encoding="utf-8")))


@given(scenarios() | scenarios(vocabulary=WILD))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_scenario_is_valid_in_short_and_in_full(scenario: Scenario) -> None:
    SCENARIO.validate(plain(scenario))
    SCENARIO.validate(json.loads(scenario.model_dump_json(by_alias=True)))


@given(programs(largest=1))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_all_policies_are_valid(program: Program) -> None:
    POLICIES.validate(plain(program.policies))
    POLICIES.validate(json.loads(program.policies.model_dump_json(by_alias=True)))


@pytest.mark.parametrize(
    "change",
    [
        "priority: high",
        "priority: 101",
        "wehn: now",
        "reentry: sometimes",
        "trigger: {evnt: x}",
        "trigger: {inactive: view}",
        "trigger: {schedule: weekly}",
        "audience: 5",
        "audience: {were: x}",
        "exit_on: {event: purchase}",
        "steps: []",
        "steps: [{id: nothing}]",
        "steps: [{wait: 4 hours}]",
        "steps: [stop]",
        "steps: [{send: hello.mjml}]",
        "steps: [{send: a, offer: {percent: 110}}]",
        "experiment: {name: x, arms: {a: 2}}",
    ],
)
def test_what_the_loader_refuses_by_its_shape_the_schema_refuses_too(change: str) -> None:
    key = change.partition(":")[0]
    lines = ["scenario: x", "trigger: {event: sign_up}", "reentry: once", "steps: [{send: a}]"]
    text = "\n".join([line for line in lines if not line.startswith(f"{key}:")] + [change])
    assert not SCENARIO.is_valid(data(text))
    with pytest.raises(ScenarioError):
        loads(text)


def test_every_key_says_what_it_means() -> None:
    def keys(node: object) -> list[dict[str, object]]:
        if isinstance(node, list):
            return [found for item in node for found in keys(item)]
        if not isinstance(node, dict):
            return []
        own = list(node["properties"].values()) if isinstance(node.get("properties"), dict) else []
        return own + [found for item in node.values() for found in keys(item)]

    for made in schema().values():
        assert all(len(str(key["description"])) > 4 for key in keys(made))


def test_defaults_are_said_as_a_file_would_say_them() -> None:
    made = schema()["scenario"]
    assert made["properties"]["max_age"]["default"] == "72h"
    assert made["$defs"]["DateTrigger"]["properties"]["at"]["default"] == "09:00"
    assert made["$defs"]["DateTrigger"]["properties"]["offset"]["default"] == "0s"


def test_the_files_written_are_the_schemas_and_an_editor_line_does_no_harm(tmp_path: Path) -> None:
    files = write_schema(tmp_path)
    assert [json.loads(file.read_text(encoding="utf-8")) for file in files] == [
        schema()["scenario"],
        schema()["policies"],
    ]
    text = "# yaml-language-server: $schema=../scenario.schema.json\n" + dump(
        loads("{scenario: x, trigger: {event: y}, reentry: once, steps: [exit]}")["x"]
    )
    assert loads(text)["x"].scenario == "x"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        write_schema(tmp_path / "nowhere")


def test_the_defaults_alone_are_valid_policies() -> None:
    POLICIES.validate(plain(Policies()))
