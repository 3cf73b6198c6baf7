from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from toolkit.mail import Letter, Templates
from toolkit.scenario.models import Brand, Policies, Program, Scenario, Sender

LIBRARY = Path(__file__).parents[2] / "templates"
MJML = "<mjml><mj-body><mj-section><mj-column>{}</mj-column></mj-section></mj-body></mjml>"
TEXT = "subject: Hello\npreheader: A word\n---\n"
POLICIES = Policies(
    sender=Sender(name="Maison Lune", email="hello@example.com"),
    brand=Brand(name="Maison Lune", address="12 rue de l'Exemple", url="https://shop.example.com", colour="#112233"),
)


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes one mail, `shop/mail`, and further files, into a new folder of templates."""

    def write(body: str = "Hello", text: str = "Hello\n", **more: str) -> Path:
        place = tmp_path / "shop"
        place.mkdir(exist_ok=True)
        mjml = body if "<mjml" in body else MJML.format(f"<mj-text>{body}</mj-text>")
        (place / "mail.mjml").write_text(mjml, encoding="utf-8")
        (place / "mail.txt").write_text(text if "---" in text else TEXT + text, encoding="utf-8")
        for name, content in more.items():
            (place / name.replace("__", ".")).write_text(content, encoding="utf-8")
        return tmp_path

    return write


@pytest.fixture
def templates(folder: Callable[..., Path]) -> Callable[..., Templates]:
    def load(body: str = "Hello", text: str = "Hello\n", policies: Policies = POLICIES, **more: str) -> Templates:
        return Templates.load(folder(body, text, **more), policies)

    return load


@pytest.fixture
def letter() -> Callable[..., Letter]:
    def make(**changes: Any) -> Letter:
        values: dict[str, Any] = {
            "template": "shop/mail",
            "decision_id": "d1",
            "scenario": "shop",
            "step": "mail",
            "class_": "marketing",
            "customer": {"first_name": "Ana", "timezone": "Europe/Paris"},
            "event": {"value": 40.0},
            "offer": None,
            "to": "ana@example.org",
            "locale": "en",
            "at": datetime(2026, 3, 1, 9, tzinfo=UTC),
        }
        return Letter(**{**values, **changes})

    return make


@pytest.fixture
def program() -> Callable[..., Program]:
    def make(class_: str = "marketing", policies: Policies = POLICIES, **send: Any) -> Program:
        step = {"id": "mail", "send": "shop/mail", **send}
        scenario = Scenario.model_validate(
            {"scenario": "shop", "class": class_, "trigger": {"event": "visit"}, "reentry": "once", "steps": [step]}
        )
        return Program(scenarios=(scenario,), policies=policies)

    return make


@pytest.fixture(scope="session")
def library_program() -> Program:
    yaml = YAML(typ="safe", pure=True)
    scenarios = tuple(
        Scenario.model_validate(yaml.load(path.read_text(encoding="utf-8")))
        for path in sorted(LIBRARY.glob("*/scenario.yaml"))
    )
    policies = Policies.model_validate(yaml.load((LIBRARY / "policies.yaml").read_text(encoding="utf-8")))
    return Program(scenarios=scenarios, policies=policies)


@pytest.fixture(scope="session")
def library(library_program: Program) -> Templates:
    return Templates.load(LIBRARY, library_program.policies)
