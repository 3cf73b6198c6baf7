"""A shop to send for: a program, its templates on the disk, a log of sign-ups, and a batch of its mails."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from toolkit.events import EventLog
from toolkit.scenario import loads
from toolkit.scenario.models import Policies, Program
from toolkit.sending import approve, prepare

__all__ = [
    "GIFT",
    "NOON",
    "POLICIES",
    "Shop",
    "batches_of",
    "log_of",
    "people_of",
    "program_of",
    "without",
    "write_templates",
]

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
GIFT = """
scenario: welcome
trigger: {event: sign_up}
reentry: once
steps:
  - {wait: 1h}
  - {id: hello, send: welcome/hello, offer: {percent: 10, pool: spring}}
---
pools: {spring: {file: spring.csv}}
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
        return prepare(program or self.program, log, now=now, **{"progress": False, **options})

    def approve(self, batch, **options):
        return approve(batch, by="ana", **options)

    def mails(self):
        return sorted(path.name for path in self.outbox.glob("*.eml"))


def people_of(count):
    return pd.DataFrame(
        {
            "customer_id": [f"c{number}" for number in range(count)],
            "email": [f"c{number}@example.org" for number in range(count)],
            "first_name": [f"Name{number}" for number in range(count)],
            "consent": True,
        }
    )


def events_of(count, more=()):
    signed = [{"customer_id": f"c{n}", "event": "sign_up", "at": NOON - timedelta(hours=4)} for n in range(count)]
    frame = pd.DataFrame([*signed, *more])
    frame["at"] = pd.to_datetime(frame["at"], utc=True)
    return frame


def log_of(count=12, *, more=(), people=None, **columns):
    """A log of so many sign-ups four hours before noon, and more events as dicts."""
    people = people_of(count) if people is None else people
    events = events_of(count, more)
    for name in ("revenue", "bounce_type", "first_name", "consent"):
        if name not in events and (name == "revenue" or columns.get(name)):
            events[name] = None
    if events["revenue"].isna().all():
        events["revenue"] = events["revenue"].astype("float64")
    return EventLog.from_pandas(events, customers=people)


def program_of(scenario=WELCOME, **policies):
    scenarios = loads(scenario).scenarios if isinstance(scenario, str) else scenario
    return Program(scenarios=scenarios, policies=Policies.model_validate({**POLICIES, **policies}))


def write_templates(folder):
    (folder / "welcome").mkdir(parents=True)
    (folder / "welcome" / "hello.txt").write_text(TEXT, encoding="utf-8")
    (folder / "welcome" / "hello.mjml").write_text(HTML, encoding="utf-8")


def batches_of(folder, count, *moments):
    """Of the shop that stands in a folder already, with so many customers, one batch for each moment."""
    shop = Shop(Path(folder), program_of(), log_of(count))
    return [shop.prepare(now=moment) for moment in moments]


def without(path, table, *, version):
    """Make a ledger one of an earlier version, which had no such table."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(f"DROP TABLE {table}; UPDATE meta SET value = '{version}' WHERE name = 'version'")
    connection.close()
