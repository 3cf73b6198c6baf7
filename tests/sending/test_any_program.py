"""Whatever the language can say goes the whole way: replayed, prepared, sent, sent in rounds, and the same in each."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from random import Random

import pandas as pd
import pytest

import toolkit as tk
from tests.reference.worlds import people, world
from tests.sending.shops import HTML, POLICIES, TEXT
from toolkit.charts.diagram import diagram
from toolkit.errors import ScenarioError
from toolkit.events import EventLog
from toolkit.scenario.duration import Duration
from toolkit.scenario.models import Policies, Program, ReentryAfter, Send, every_step
from toolkit.scenario.parameters import parameters, set_parameters
from toolkit.sending import Ledger, approve, approve_standing, parity, prepare, round_of, send

ROUNDS, APART = 6, timedelta(hours=12)
EDITED = 14  # rounds
WAITS = ("30m", "1h", "2h", "6h", "1d", "2d", "3d", "7d")


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

    def moments(self, count=ROUNDS):
        return [(self.first.floor("12h") + number * APART).to_pydatetime() for number in range(1, count + 1)]


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
        rows = report.table[report.table["outcome"] != "sent"]  # those whose customers are in their quiet hours by then
        assert set(rows[["outcome", "reason"]].itertuples(index=False, name=None)) <= {("deferred", "quiet_hours")}
        sent += report.sent
        for hours in (6, 12, 18):
            report = send(batch, signed, confirm=len(batch), clock=lambda h=hours: now + timedelta(hours=h), **options)
        assert report.waiting + report.unknown + report.failed == 0
        assert len(prepare(shop.program, shop.log, now=now, **where)) == 0
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


def _grows_event_by_event(number, folder, most):
    """How many mails left, with a round at each moment of a decision, on the log as it was known then."""
    shop = Business(number, folder)
    run = tk.replay(shop.program, shop.log, until=shop.received.max() + timedelta(days=2), progress=False)
    sends = run.decisions[run.decisions["status"] == "send"]
    moments = sorted(set(sends["at"]))[:most]
    if not moments or shop.program.policies.pools:
        return 0
    begin = moments[0].to_pydatetime()
    standing = approve_standing(shop.program, shop.templates, by="ana", mails_a_day=10_000, clock=lambda: begin)
    for moment in (one.to_pydatetime() for one in moments):
        round_of(
            shop.program, shop.log_at(moment), templates=shop.templates, approval=standing, now=moment,
            transport=f"outbox:{folder / 'all'}", ledger=folder / "ledger.sqlite", captures=folder / "captures",
            clock=lambda moment=moment: moment,
        )  # fmt: skip
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        accepted = ledger.deliveries(state="accepted")
    assert sorted(accepted["decision_id"]) == sorted(sends.loc[sends["at"] <= moments[-1], "decision_id"])
    assert accepted.set_index("decision_id")["decided_at"].to_dict() == (
        sends.loc[sends["at"] <= moments[-1]].set_index("decision_id")["at"].to_dict()
    )
    return len(accepted)


@pytest.mark.parametrize("number", [8, 39])
def test_rounds_at_every_moment_of_a_growing_log_send_what_a_replay_of_all_of_it_sends(number, tmp_path):
    assert _grows_event_by_event(number, tmp_path, 5)


@pytest.mark.soak
def test_so_do_rounds_of_any_program(tmp_path):
    assert sum(_grows_event_by_event(number, tmp_path / str(number), 25) for number in range(200, 280)) > 100


def _edited(program, chance):
    """The program with another wait, moment, number or priority; caps and re-entry stay."""
    values = {
        path: value
        for path, value in parameters(program).items()
        if not {"policies", "experiment"} & {*path.split(".")}
    }
    for path in chance.sample(sorted(values), len(values)):
        value, new = values[path], None
        if ".caps" in path or "reentry" in path:
            continue
        if isinstance(value, str) and value[2:3] == ":":
            new = f"{chance.randrange(24):02d}:00"
        elif isinstance(value, str | Duration):
            new = chance.choice(WAITS)
        elif type(value) in (int, float):
            new = max(1, int(value) + chance.choice((-2, -1, 1, 2)))
        try:
            return set_parameters(program, {path: new})
        except ScenarioError:  # not a duration after all, or contrary to another step
            continue
    return program


def _sent_while_edited(number, folder):
    """Accepted marketing mails of a program that was edited before each round, and the program."""
    shop, chance = Business(number, folder), Random(number)
    if not shop.count:
        return None
    program, place = shop.program, folder / "ledger.sqlite"
    for moment in shop.moments(EDITED):
        batch = prepare(
            program, shop.log_at(moment), now=moment, templates=shop.templates, ledger=place, progress=False
        )
        assert not batch.errors
        if len(batch):
            signed = approve(batch, by="ana", clock=lambda moment=moment: moment)
            options = {"transport": f"outbox:{folder / 'out'}", "ledger": place, "progress": False}
            send(batch, signed, confirm=len(batch), clock=lambda moment=moment: moment, **options)
        program = _edited(program, chance)
    if not place.exists():
        return None
    with Ledger.open(place) as ledger:
        rows = ledger.deliveries(state="accepted")
    kinds = {one.scenario: one.class_ for one in program.scenarios}
    return program, rows[rows["scenario"].map(kinds) == "marketing"]


def _over_caps(program, mails) -> Iterator[str]:
    """Customers with more mails in the window of a cap than it allows."""
    named = [(cap, mails) for cap in program.policies.caps if cap.scope == "marketing"]
    for scenario in program.scenarios:
        own = (*(cap for cap in program.policies.caps if cap.scope == "scenario"), *scenario.caps)
        named += [(cap, mails[mails["scenario"] == scenario.scenario]) for cap in own]
    for cap, some in named:
        span = pd.Timedelta(cap.per.elapsed, unit="us")
        for customer, moments in some.groupby("customer_id")["decided_at"]:
            if any(((moments > end - span) & (moments <= end)).sum() > cap.limit for end in moments):
                yield f"{customer}: more than {cap.limit} in {cap.per}"


def _too_soon(program, mails) -> Iterator[str]:
    """Steps that a customer had again sooner than the re-entry lets journeys begin, but for a day of quiet hours."""
    for scenario in program.scenarios:
        again = scenario.reentry
        if scenario.key is not None or scenario.while_active == "parallel" or again == "every":
            continue
        mine = mails[mails["scenario"] == scenario.scenario].sort_values("decided_at")
        apart = mine.groupby(["customer_id", "step"])["decided_at"].diff()
        least = (
            pd.Timedelta(again.after.elapsed, unit="us") / 2 if isinstance(again, ReentryAfter) else pd.Timedelta.max
        )
        yield from (f"{scenario.scenario}: {gap} apart" for gap in apart.dropna() if gap < least)


def _holds_while_edited(number, folder):
    found = _sent_while_edited(number, folder)
    if found is None:
        return 0
    assert list(_over_caps(*found)) == []
    assert list(_too_soon(*found)) == []
    return len(found[1])


@pytest.mark.parametrize("number", [8, 39])
def test_edits_between_rounds_mail_nobody_above_a_cap_or_sooner_than_re_entry_allows(number, tmp_path):
    assert _holds_while_edited(number, tmp_path) > 3


@pytest.mark.soak
def test_so_do_edits_of_any_program(tmp_path):
    assert sum(_holds_while_edited(number, tmp_path / str(number)) for number in range(80)) > 100


@pytest.mark.soak
def test_so_can_any_program(tmp_path):
    sent, rounds = 0, 0
    for number in range(100):
        found, steps = _goes_the_whole_way(number, tmp_path / str(number))
        sent += found
        rounds += any("#" in step for step in steps)
    assert sent > 200
    assert rounds > 2
