"""The shop with a program at work: the mails it would really have sent, and what people made of them.

Decisions depend on what people did, and what they do depends on the mails they got. The circle is closed in rounds:
replay, let people answer, replay again. An answer is fixed by the mail's decision id, and a replay up to a moment
depends on nothing after it (rule R21), so each round makes at least one more mail of every person final, and the last
round changes nothing: replaying the program over the finished log gives exactly the mails that are in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pandas as pd

from toolkit.engine import Run, replay
from toolkit.engine.doors import check_program
from toolkit.errors import InputError, ToolkitError, shown
from toolkit.scenario import Program, Scenario
from toolkit.scenario.models import Send
from toolkit.simulation.answers import Answers
from toolkit.simulation.mailed_events import all_purchases, mailed_events
from toolkit.simulation.responses import Offers, answer_mails, use_offers
from toolkit.simulation.shop import Shop
from toolkit.tables import as_text

__all__ = ["MailedShop", "mailed"]

_ROUNDS = 60
_WITHIN = 7 * 86_400_000_000
_TOLD = [
    *("decision_id", "journey_id", "customer_id", "scenario", "step", "arm", "at", "template", "delivered"),
    *("own_purchase_at", "caused_at", "caused_revenue", "discount"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class MailedShop:
    """A shop whose log holds the mails of a program and what they brought about.

    Attributes:
        shop: events and customers; delivery events carry scenario, step, experiment, arm and decision_id.
        run: the replay of the program over that log: its sends are the mails in the log.
        answers: the truth.
        mails: one row per mail sent: decision_id, journey_id, customer_id, scenario, step, arm, at, template,
            delivered, own_purchase_at (the next one, without any mail), caused_at (the purchase this mail brought
            about; missing: none), caused_revenue, discount (EUR, what its offer took off a purchase, caused or not).
        journeys: one row per journey of an experiment: journey_id, scenario, experiment, arm, customer_id, entered_at,
            buys_anyway (within the goal's time, without any mail) and caused (in that time, because of a mail of the
            scenario).
    """

    shop: Shop
    run: Run = field(repr=False)
    answers: Answers
    mails: pd.DataFrame = field(repr=False)
    journeys: pd.DataFrame = field(repr=False)

    def effect(self) -> pd.DataFrame:
        """The true effect of each arm, journey by journey, as no analysis of the log could know it.

        Returns:
            One row per scenario and arm: scenario, arm, n (journeys), buys_anyway_rate, caused_rate. What an
            experiment estimates, converted in the arm minus converted in control, is caused_rate up to chance.
        """
        groups = self.journeys.groupby(["scenario", "arm"], observed=True, sort=False)
        return groups.agg(
            n=("caused", "size"), buys_anyway_rate=("buys_anyway", "mean"), caused_rate=("caused", "mean")
        ).reset_index()


def mailed(shop: Shop, program: Program | Scenario, *, answers: Answers | None = None) -> MailedShop:
    """The shop as it would have been with this program sending mails all along.

    Args:
        shop: a synthetic shop, without mails.
        program: scenarios and policies; may hold experiments.
        answers: how people answer; the defaults are those of `Answers()`.

    Returns:
        The shop with mails in its log, and the truth about each of them.

    Raises:
        InputError: `answers.buys` names a mail that the program does not send; no shop, program or answers where one
            belongs.
        ToolkitError: the rounds do not come to rest; a sign of a replay that looks ahead.
        NotSupportedError: a construct that replay cannot do, such as a branch on the program's own opens.

    >>> from toolkit.scenario import loads
    >>> from toolkit.simulation import shop
    >>> program = loads('''
    ... scenario: welcome
    ... trigger: {event: sign_up}
    ... reentry: once
    ... steps: [{id: hello, send: welcome/hello}]
    ... ''')
    >>> busy = mailed(shop(customers=100, days=30, seed=2), program)
    >>> len(busy.mails) == busy.shop.log().event_counts["email_sent"]
    True
    """
    if not isinstance(shop, Shop):
        raise InputError(f"shop: found {shown(shop)}; allowed: a Shop, as shop(customers=100, seed=1) gives it")
    if answers is not None and not isinstance(answers, Answers):
        raise InputError(f"answers: found {shown(answers)}; allowed: Answers(...) of toolkit.simulation")
    program = check_program(program, shop.log())
    known = [f"{scenario.scenario}.{step.id}" for scenario in program.scenarios for step in _sends(scenario)]
    if answers is None:
        answers = Answers()
        answers = replace(answers, buys={mail: share for mail, share in answers.buys.items() if mail in known})
    answers.check_mails(known)
    offers: Offers = {
        (scenario.scenario, step.id or ""): step.offer
        for scenario in program.scenarios
        for step in _sends(scenario)
        if step.offer is not None
    }
    until = shop.events["received_at"].max()
    live, sends, mails = shop, None, pd.DataFrame()
    for _ in range(_ROUNDS):
        run = replay(program, live.log(), until=until)
        decided = _sent(run, program)
        if sends is not None and decided.equals(sends):
            return MailedShop(
                shop=live, run=run, answers=answers, mails=mails[_TOLD], journeys=_journeys(run, shop, mails)
            )
        sends = decided
        mails = answer_mails(shop, sends, offers=offers, answers=answers)
        purchases = all_purchases(shop, mails, until=until)
        mails, purchases = use_offers(mails, purchases, offers=offers, answers=answers, seed=shop.seed)
        live = replace(shop, events=mailed_events(shop, mails, purchases, until=until))
    raise ToolkitError(
        f"the mails still change after {_ROUNDS} rounds of replay and answer; does the replay look ahead?"
    )


def _sends(scenario: Scenario) -> list[Send]:
    found: list[Send] = []
    waiting = list(scenario.steps)
    while waiting:
        step = waiting.pop(0)
        if isinstance(step, Send):
            found.append(step)
        for name in ("steps", "then", "else_"):
            waiting += getattr(step, name, ())
        for path in getattr(step, "paths", {}).values():
            waiting += path
    return found


def _sent(run: Run, program: Program) -> pd.DataFrame:
    """The mails that go out: the decisions, with the class of the scenario and the name of its experiment."""
    decisions = run.decisions
    sent = decisions[decisions["status"] == "send"].reset_index(drop=True)
    names = {scenario.scenario: scenario for scenario in program.scenarios}
    experiments = {name: scenario.experiment.name for name, scenario in names.items() if scenario.experiment}
    return sent.assign(
        experiment=as_text(sent["scenario"].map(experiments)),
        transactional=sent["scenario"]
        .map({name: s.class_ == "transactional" for name, s in names.items()})
        .astype(bool),
    )


def _journeys(run: Run, shop: Shop, mails: pd.DataFrame) -> pd.DataFrame:
    own = shop.truth.carts.dropna(subset="bought_at")
    caused = mails.dropna(subset="caused_at")
    columns = ["journey_id", "scenario", "experiment", "arm", "customer_id", "entered_at", "buys_anyway", "caused"]
    parts = [pd.DataFrame(columns=columns)]
    for scenario in run.program.scenarios:
        if scenario.experiment is None:
            continue
        mine = run.journeys[run.journeys["scenario"] == scenario.scenario]
        within = pd.Timedelta(scenario.goal.within.elapsed if scenario.goal else _WITHIN, unit="us")
        answered = caused[caused["scenario"] == scenario.scenario]
        part = mine[["journey_id", "scenario", "arm", "customer_id", "entered_at"]].assign(
            experiment=scenario.experiment.name,
            buys_anyway=_follows(mine, own["customer_id"], own["bought_at"], within),
            caused=_follows(mine, answered["customer_id"], answered["caused_at"], within),
        )
        parts.append(part[columns])
    return parts[0] if len(parts) == 1 else pd.concat(parts[1:], ignore_index=True)


def _follows(journeys: pd.DataFrame, customer_id: pd.Series, at: pd.Series, within: pd.Timedelta) -> pd.Series:
    """For each journey, whether its customer bought within so long of entry."""
    purchases = pd.DataFrame({"customer_id": customer_id, "bought_at": at})
    pairs = journeys[["journey_id", "customer_id", "entered_at"]].merge(purchases, on="customer_id")
    after = pairs["bought_at"] - pairs["entered_at"]
    return journeys["journey_id"].isin(pairs.loc[(after > pd.Timedelta(0)) & (after <= within), "journey_id"])
