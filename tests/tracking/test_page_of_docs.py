"""The page of the docs: its examples run, and its tables are those of the code."""

from __future__ import annotations

import re
import tomllib

from tests.shared import ROOT
from toolkit.events import EventLog
from toolkit.scenario import loads
from toolkit.tracking import RULES, Answers
from toolkit.tracking.providers import PROVIDERS
from toolkit.tracking.webhooks import Webhooks

PAGE = (ROOT / "docs" / "tracking.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_tables_of_rules_and_providers_are_those_of_the_code():
    for rule in RULES:
        assert f"| {rule.name} | {', '.join(rule.kinds)} | {rule.verdict} | {rule.why} |" in PAGE
    for name, provider in PROVIDERS.items():
        assert f"| {name} | {provider.SECRET} |" in PAGE


def test_the_policies_and_secrets_shown_are_read():
    scenario = "scenario: x\ntrigger: {event: sign_up}\nreentry: once\nsteps: [{send: x/y}]\n---\n"
    policies = loads(scenario + blocks("yaml")[0]).policies
    assert policies.tracking.topics["news"]["fr"] == "Nouveautés"
    assert Webhooks(tomllib.loads(blocks("toml")[0])).names == ("postmark", "sendgrid", "ses")


def test_the_examples_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    EventLog.open(ROOT / "data" / "shop").save(tmp_path / "data" / "shop")
    Answers.open(tmp_path / "outbox" / "answers.sqlite").close()
    for code in blocks("python"):
        exec(compile(code, "docs/tracking.md", "exec"), {})
    assert "Deliverability (observed)" in capsys.readouterr().out
