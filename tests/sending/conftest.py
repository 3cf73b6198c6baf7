"""A clock that is set by hand, a ledger in a file with runs to put into it, and a shop with mails to send."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from toolkit.events import EventLog
from toolkit.scenario import loads
from toolkit.scenario.models import Policies, Program
from toolkit.sending import approve, prepare
from toolkit.sending.clock import micros
from toolkit.sending.ledger import Ledger
from toolkit.sending.planning import Entry, RunRecord

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
WELCOME = """
scenario: welcome
trigger: {event: sign_up}
reentry: once
exit_on: [{event: purchase, where: "revenue >= 50"}]
goal: {event: purchase, within: 7d, value: revenue}
steps:
  - {wait: 1h}
  - {id: hello, send: welcome/hello}
"""
POLICIES = {
    "sender": {"name": "Maison Lune", "email": "hello@example.com"},
    "brand": {
        "name": "Maison Lune",
        "address": "12 rue de l'Exemple, 75000 Paris",
        "unsubscribe_url": "https://shop.example.com/u/{token}",
    },
}
TEXT = """subject: Welcome {{ customer.first_name }}
preheader: Good to see you
---
Hello {{ customer.first_name }}, you signed up.
{% if offer is defined %}{{ offer.percent | default(0) }} % for you{% endif %}
{% if unsubscribe is defined %}Stop: {{ unsubscribe }}{% endif %}
"""
HTML = """<mjml><mj-body><mj-section><mj-column>
<mj-text>Hello {{ customer.first_name }}, you signed up.
{% if offer is defined %}{{ offer.percent | default(0) }} % for you{% endif %}
{% if unsubscribe is defined %}<a href="{{ unsubscribe }}">Stop</a>{% endif %}</mj-text>
</mj-column></mj-section></mj-body></mjml>
"""


@dataclass
class Shop:
    """A program, its templates on the disk, a log, and the steps of the chain with what they need filled in."""

    folder: Path
    program: Program
    log: EventLog

    @property
    def templates(self):
        return self.folder / "templates"

    @property
    def outbox(self):
        return self.folder / "outbox"

    def prepare(self, *, now=NOON, log=None, program=None, **options):
        options.setdefault("templates", self.templates)
        options.setdefault("ledger", self.outbox / "ledger.sqlite")
        log = self.log if log is None else log
        return prepare(program or self.program, log, now=now, progress=False, **options)

    def approve(self, batch, **options):
        return approve(batch, by="ana", **options)

    def mails(self):
        return sorted(path.name for path in self.outbox.glob("*.eml"))


def _people(count):
    return pd.DataFrame(
        {
            "customer_id": [f"c{number}" for number in range(count)],
            "email": [f"c{number}@example.org" for number in range(count)],
            "first_name": [f"Name{number}" for number in range(count)],
            "consent": True,
        }
    )


def _events(count, more=()):
    signed = [{"customer_id": f"c{n}", "event": "sign_up", "at": NOON - timedelta(hours=4)} for n in range(count)]
    frame = pd.DataFrame([*signed, *more])
    frame["at"] = pd.to_datetime(frame["at"], utc=True)
    return frame


def _log(count=12, *, more=(), people=None, **columns):
    """A log of so many sign-ups four hours before noon, and more events as dicts."""
    people = _people(count) if people is None else people
    events = _events(count, more)
    for name in ("revenue", "bounce_type", "first_name", "consent"):
        if name not in events and (name == "revenue" or columns.get(name)):
            events[name] = None
    if events["revenue"].isna().all():
        events["revenue"] = events["revenue"].astype("float64")
    return EventLog.from_pandas(events, customers=people)


def _program(scenario=WELCOME, **policies):
    scenarios = loads(scenario).scenarios if isinstance(scenario, str) else scenario
    return Program(scenarios=scenarios, policies=Policies.model_validate({**POLICIES, **policies}))


def _write_templates(folder):
    (folder / "welcome").mkdir(parents=True)
    (folder / "welcome" / "hello.txt").write_text(TEXT, encoding="utf-8")
    (folder / "welcome" / "hello.mjml").write_text(HTML, encoding="utf-8")


START = datetime(2026, 3, 2, 12, tzinfo=UTC)


class SetClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now=START):
        self.now = now

    def __call__(self):
        return self.now

    def forward(self, **amount):
        self.now += timedelta(**amount)


def _entries(count, *, first=0, class_="marketing"):
    return [
        Entry(
            decision_id=f"d{number:05d}",
            customer_id=f"c{number}",
            address=f"c{number}@example.org",
            class_=class_,
            message_id=f"m{number:05d}@example.com",
            payload_sha256=hashlib.sha256(str(number).encode()).hexdigest(),
        )
        for number in range(first, first + count)
    ]


def _run_record(name="run", *, mails=0, now=START, transport="outbox:here", hours=72):
    return RunRecord(
        id=name,
        digest="0" * 64,
        program="1" * 64,
        transport=transport,
        mails=mails,
        as_of=micros(now),
        not_after=micros(now + timedelta(hours=hours)),
        approval_id=f"approval of {name}",
        approver="ana",
        document="{}",
        signed_at=micros(now),
    )


@pytest.fixture(scope="session")
def make_log():
    return _log


@pytest.fixture(scope="session")
def make_people():
    return _people


@pytest.fixture(scope="session")
def make_program():
    return _program


@pytest.fixture
def shop(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    _write_templates(tmp_path / "templates")
    return Shop(tmp_path, _program(), _log())


@pytest.fixture
def noon():
    return NOON


@pytest.fixture
def entries():
    return _entries


@pytest.fixture
def run_record():
    return _run_record


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
def ledger(tmp_path, clock):
    with Ledger.open(tmp_path / "ledger.sqlite", clock=clock) as opened:
        yield opened
