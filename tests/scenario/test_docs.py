"""What the page on scenarios shows is what the language takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from toolkit.scenario import Program, loads
from toolkit.scenario import models as m
from toolkit.scenario.checks import check
from toolkit.scenario.models import every_step

PAGE = (Path(__file__).parents[2] / "docs" / "scenarios.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
PLAIN = "scenario: plain\ntrigger: {event: a}\nreentry: once\nsteps: [{send: m/x}]\n---\n"


def read(text: str) -> Program:
    return loads(text if text.startswith("scenario:") else PLAIN + text)


@pytest.mark.parametrize("text", BLOCKS, ids=lambda text: text.splitlines()[0])
def test_an_example_of_the_page_is_read_without_a_warning(text: str) -> None:
    assert check(read(text)) == ()


def test_the_page_shows_every_trigger_and_every_step() -> None:
    scenarios = [scenario for text in BLOCKS for scenario in read(text).scenarios]
    triggers = {type(scenario.trigger) for scenario in scenarios}
    steps = {type(step) for scenario in scenarios for step in every_step(scenario.steps)}
    assert triggers == {m.EventTrigger, m.DateTrigger, m.InactiveTrigger, m.CycleTrigger, m.ScheduleTrigger}
    assert steps == {m.Wait, m.WaitFor, m.Send, m.Branch, m.Split, m.Repeat}
    assert "`exit`" in PAGE


def test_another_value_of_a_parameter_is_compared_as_the_page_shows(capsys) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(code, {})
    said = capsys.readouterr().out
    assert re.search(r"abandoned_cart\.pause\.wait\s+4h\s+1h", said)
    assert "gained" in said
