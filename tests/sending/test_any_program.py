"""Whatever the language can say goes the whole way: replayed, prepared, sent, sent in rounds, and the same in each."""

from __future__ import annotations

from datetime import date, timedelta

import pandas as pd
import pytest

import toolkit as tk
from tests.reference.worlds import people, world
from tests.sending.shops import HTML, POLICIES, TEXT
from toolkit.charts.diagram import diagram
from toolkit.events import EventLog
from toolkit.scenario.models import Policies, Program, Send, every_step
from toolkit.sending import approve, approve_standing, parity, prepare, round_of, send

ROUNDS, APART = 6, timedelta(hours=12)


class Business:
    """A random program and log, with a mail for each step and an address for each customer."""

    def __init__(self, number, folder):
        made = world(number)
        said = made.program.policies.model_dump(by_alias=True, exclude_none=True)
        self.program = Program(scenarios=made.program.scenarios, policies=Policies.model_validate({**said, **POLICIES}))
        self.folder, self.templates, self.frame = folder, folder / "templates", made.frame()
        # An address may come with an event alone, for a customer of whom nothing else is known.
        html, text = (one.replace("customer.first_name", "customer.customer_id") for one in (HTML, TEXT))
        for name in {step.send for step in self.sends()}:
            path = self.templates / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".mjml").write_text(html, encoding="utf-8")
            path.with_suffix(".txt").write_text(text, encoding="utf-8")
        customers = people(made.customers)
        count = range(len(customers))
        self.customers = customers.assign(email=[f"u{number}@example.org" for number in count])
        named = self.frame.get("received_at", self.frame["at"])
        self.received = pd.to_datetime(named, utc=True).fillna(pd.to_datetime(self.frame["at"], utc=True))
        self.log = self.log_at(self.received.max())
        self.run = tk.replay(self.program, self.log, progress=False)
        sent = self.run.decisions[self.run.decisions["status"] == "send"]
        self.count, self.first = len(sent), sent["at"].min()

    def sends(self):
        for scenario in self.program.scenarios:
            yield from (step for step in every_step(scenario.steps) if isinstance(step, Send))

    def log_at(self, moment):
        return EventLog.from_pandas(self.frame[self.received <= moment], customers=self.customers)

    def moments(self):
        return [(self.first.floor("12h") + number * APART).to_pydatetime() for number in range(1, ROUNDS + 1)]


def _goes_the_whole_way(number, folder):
    """How many mails left, one batch and the rounds; and the names of their steps."""
    shop = Business(number, folder)
    if not shop.count:
        return 0, set()
    for scenario in shop.program.scenarios:
        assert diagram(scenario, shop.run).startswith("<svg")
    now = shop.moments()[1]
    where = {"templates": shop.templates, "ledger": folder / "one" / "ledger.sqlite", "progress": False}
    batch = prepare(shop.program, shop.log, now=now, **where)
    assert not batch.preflight.errors
    sent = 0
    if len(batch):
        signed = approve(batch, by="ana", clock=lambda: now)
        options = {"transport": f"outbox:{folder / 'one'}", "log": shop.log, "progress": False}
        report = send(batch, signed, confirm=len(batch), clock=lambda: now, **options)
        assert report.sent == len(batch)
        assert len(prepare(shop.program, shop.log, now=now, **where)) == 0
        sent += report.sent
    steps = {mail.letter.step for mail in batch.mails}
    begin = shop.moments()[0]
    standing = approve_standing(shop.program, shop.templates, by="ana", mails_a_day=10_000, clock=lambda: begin)
    places = {"ledger": folder / "ledger.sqlite", "captures": folder / "captures"}
    for moment in shop.moments():
        report = round_of(
            shop.program, shop.log_at(moment), templates=shop.templates, approval=standing, now=moment,
            transport=f"outbox:{folder / 'all'}", clock=lambda moment=moment: moment, **places,
        )  # fmt: skip
        assert report.unknown + report.failed == 0
        sent += report.sent
    for path in sorted((folder / "captures").glob("*.jsonl")):
        result = parity(shop.program, shop.log, day=date.fromisoformat(path.stem), **places)
        assert len(result.unexplained) == 0, str(result)
    return sent, steps


NUMBERS = (4, 8, 25, 39)  # dates, schedules, steps of a repeat, silence; branches, waits for events, splits


@pytest.mark.parametrize("number", NUMBERS)
def test_what_can_be_replayed_can_be_sent_and_its_days_agree_with_the_replay(number, tmp_path):
    sent, _ = _goes_the_whole_way(number, tmp_path)
    assert sent


@pytest.mark.soak
def test_so_can_any_program(tmp_path):
    sent, rounds = 0, 0
    for number in range(100):
        found, steps = _goes_the_whole_way(number, tmp_path / str(number))
        sent += found
        rounds += any("#" in step for step in steps)
    assert sent > 200
    assert rounds > 2
