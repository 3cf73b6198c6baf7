"""People who buy on their own, before the mail and after it, in a history in which it was not sent. Observed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from toolkit.drawable import Drawable
from toolkit.engine import layout as m
from toolkit.engine.doors import micros_of, scenario_with_goal
from toolkit.engine.follow import within
from toolkit.engine.layout import Floats, Ints
from toolkit.engine.local_time import HOUR, later
from toolkit.engine.period import Period
from toolkit.engine.replay import replay
from toolkit.engine.run import Run
from toolkit.engine.tally import own_of
from toolkit.errors import InputError, did_you_mean, is_one_of, shown
from toolkit.events.marks import mailed_scenarios
from toolkit.scenario import Duration, Program, Scenario
from toolkit.scenario.models import Send, Split, Step, every_step, steps_below

__all__ = ["EDGES", "OwnPurchases", "opened_to_all", "own_purchases"]

EDGES = (0, 0.25, 0.5, 1, 2, 4, 8, 12, 24, 48, 72, 96, 168, 336)
"""Hours since the trigger at which the picture is cut: uneven, because most people decide soon."""

_NEVER = "the log holds real mails of {scenario} and no control group, so nobody's own purchases can be seen"


@dataclass(frozen=True, eq=False)
class OwnPurchases(Drawable):
    """When people who buy on their own do so, beside the moment of the mail.

    Attributes:
        scenario: which.
        basis: whose purchases these are: `all`, because no mail of this scenario was sent in the log; `control`, the
            holdout, because others did get mails; `none`, when the log cannot tell.
        window: how long after the mail a purchase counts.
        mails: how many of them were mailed (or would have been) and their window has closed.
        table: one row per journey that bought: hours (since the trigger), mail_hours and offer_hours (since the
            trigger; missing where it never came to that), phase (`before`, `after_mail`, `after_offer`).
        offer: the step whose mail holds the offer, None where no mail has one.
        offers: how many offers went out (or would have) whose validity has closed.
        given: what those who bought within the validity of the offer paid for that purchase; a discount would have
            been taken off it although they bought without one. NaN where the goal names no value.
        currency: of `given`.
        lags: hours from the trigger to the moment the first mail, and the offer, was due; the medians.
    """

    scenario: str
    basis: str
    window: str
    mails: int
    table: pd.DataFrame = field(repr=False)
    offer: str | None
    offers: int
    given: float
    currency: str
    lags: tuple[float, float]

    @property
    def before(self) -> int:
        """Bought before the mail, which they therefore never got."""
        return int((self.table["phase"] == "before").sum())

    @property
    def after(self) -> int:
        """Bought after the mail, within the window, without having got it."""
        return len(self.table) - self.before

    @property
    def before_rate(self) -> float:
        """Share who bought before the mail, of all who did so or came to the mail."""
        carts = self.before + self.mails
        return self.before / carts if carts else float("nan")

    @property
    def after_rate(self) -> float:
        """Share of the mailed who would have bought anyway."""
        return self.after / self.mails if self.mails else float("nan")

    def given_away(self, percent: float) -> float:
        """Money given away by a hundred offers to people who would have bought anyway.

        Args:
            percent: the discount, 0 to 100.

        Returns:
            Per 100 offers, in `currency`; NaN where no offer's validity has closed or the goal names no value.
        """
        return self.given * percent / self.offers if self.offers else float("nan")

    def counts(self, edges: Sequence[float] = EDGES) -> pd.DataFrame:
        """One row per stretch of time since the trigger: from_hours, to_hours, before, after_mail, after_offer.

        Purchases later than the last edge are counted in the last stretch.

        Raises:
            InputError: no hours that rise, two at least.
        """
        try:
            rise = np.ndim(edges) == 1 and len(edges) > 1 and bool((np.diff(np.asarray(edges, dtype=float)) > 0).all())
        except (TypeError, ValueError):
            rise = False
        if not rise:
            raise InputError(f"edges: found {shown(edges)}; allowed: hours that rise, for example [0, 1, 24]")
        edges = list(edges)
        place = np.clip(np.searchsorted(edges, self.table["hours"], side="left") - 1, 0, len(edges) - 2)
        phases = {
            phase: np.bincount(place[(self.table["phase"] == phase).to_numpy()], minlength=len(edges) - 1)
            for phase in ("before", "after_mail", "after_offer")
        }
        return pd.DataFrame({"from_hours": edges[:-1], "to_hours": edges[1:], **phases})

    def __str__(self) -> str:
        if self.basis == "none":
            return _NEVER.format(scenario=self.scenario)
        whose = "in the control group" if self.basis == "control" else "in a log without these mails"
        return (
            f"{self.scenario}, observed {whose}: {self.before:,} bought on their own before the mail; "
            f"{self.after:,} of {self.mails:,} bought within {self.window} after it"
        )

    __repr__ = __str__


def own_purchases(run: Run, *, scenario: str | None = None, offer: str | None = None) -> OwnPurchases:
    """Who bought before the mail, and who after it although they did not get it.

    Where the log holds real mails of the scenario, only the holdout tells what people do on their own. It walks the
    whole journey; steps that are kept to an arm are counted as if the holdout walked them, too.

    Args:
        run: a replay; of a period, the journeys that began in it, followed to the end of the whole run.
        scenario: which; needed when several scenarios have a goal and mails.
        offer: id of the send step whose offer counts; the first with an offer unless given.

    Returns:
        The purchases, observed.

    Raises:
        InputError: no such scenario or step, or a scenario without a goal.

    >>> from toolkit.events import EventLog
    >>> from toolkit.scenario import loads
    >>> log = EventLog.from_pandas(pd.DataFrame({
    ...     "customer_id": ["ana", "bo", "bo", "cy", "cy", "zoe"],
    ...     "event": ["cart_add", "cart_add", "purchase", "cart_add", "purchase", "view"],
    ...     "at": ["2025-03-03T10:00Z", "2025-03-03T10:00Z", "2025-03-03T10:30Z", "2025-03-03T10:00Z",
    ...            "2025-03-03T20:00Z", "2025-03-20T10:00Z"]}))
    >>> cart = loads('''
    ... scenario: cart
    ... trigger: {event: cart_add}
    ... reentry: once
    ... exit_on: [{event: purchase}]
    ... goal: {event: purchase, within: 7d}
    ... steps: [{wait: 1h}, {send: cart/reminder}]
    ... ''')
    >>> print(own_purchases(replay(cart, log)))
    cart, observed in a log without these mails: 1 bought on their own before the mail; 1 of 2 bought within 7d after it
    """
    if not isinstance(run, Run):
        raise InputError(f"run: found {type(run).__name__}; allowed: what tk.replay gives")
    place, chosen, goal = scenario_with_goal(run.compiled.scenarios, scenario)
    gift = _offer_step(chosen, offer)
    period, run = run.period, run.whole
    holdout = chosen.experiment.holdout if chosen.experiment else None
    mailed = mailed_scenarios(run.log, up_to=micros_of(run.until))
    basis = own_of(run.compiled, mailed).basis[place]
    arm = holdout if basis == "control" else None
    people = _People.of(run, place, arm=arm, gift=gift, period=period)
    gifted = people
    opened = opened_to_all(run.program, chosen, arm, gift)
    if opened is not None:
        other = replay(opened, run.log, until=run.until, assume=run.assume, events_at_once=None)
        gifted = _People.of(other, place, arm=arm, gift=gift, period=period)
    common: dict[str, Any] = {
        "scenario": chosen.scenario,
        "basis": basis,
        "window": str(goal.within),
        "offer": gift.id if gift else None,
        "currency": run.program.policies.currency,
        "lags": (people.lag[0], gifted.lag[1]),
    }
    if basis == "none" or run.compiled.plan.scenarios[place, m.S_GOAL_BIT] < 0:
        return OwnPurchases(mails=0, table=people.nobody(), offers=0, given=float("nan"), **common)
    mails, table = people.bought(goal.within, offers=gifted)
    offers, given = gifted.given(gift, goal.within)
    return OwnPurchases(mails=mails, table=table, offers=offers, given=given, **common)


def _offer_step(scenario: Scenario, name: str | None) -> Send | None:
    sends = [step for step in every_step(scenario.steps) if isinstance(step, Send)]
    if name is None:
        return next((step for step in sends if step.offer is not None), None)
    for step in sends:
        if is_one_of(name, [str(step.id)]):
            return step
    raise InputError(
        f"{scenario.scenario}: no send step {shown(name)}; it has {', '.join(str(step.id) for step in sends)}"
        + did_you_mean(name, [str(step.id) for step in sends])
    )


# The holdout walks as the arm that gets the offer .....................................................................


def opened_to_all(program: Program, scenario: Scenario, arm: str | None, gift: Send | None) -> Program | None:
    """The same program, with the holdout on the way of the arm that gets the offer: withheld there, too.

    Args:
        program: scenarios and policies.
        scenario: the one of them that has the offer.
        arm: the holdout, where it alone is looked at.
        gift: the step with the offer.

    Returns:
        None where the holdout comes to the offer anyway, or is not looked at alone.
    """
    if arm is None or gift is None or not gift.only or arm in gift.only:
        return None
    other = scenario.replace(steps=_opened(scenario.steps, gift.only[0], arm))
    scenarios = tuple(other if one.scenario == scenario.scenario else one for one in program.scenarios)
    opened: Program = program.replace(scenarios=scenarios)
    return opened


def _opened(steps: tuple[Step, ...], arm: str, holdout: str) -> tuple[Step, ...]:
    return tuple(_opened_step(step, arm, holdout) for step in steps)


def _opened_step(step: Step, arm: str, holdout: str) -> Step:
    changes: dict[str, Any] = {}
    if arm in step.only and holdout not in step.only:
        changes["only"] = (*step.only, holdout)
    if isinstance(step, Split):
        changes["paths"] = {name: _opened(below, arm, holdout) for name, below in step.paths.items()}
    else:
        for where, below in steps_below(step):
            changes[str(where[0])] = _opened(below, arm, holdout)
    return step.model_copy(update=changes) if changes else step


# What they did ........................................................................................................


@dataclass(frozen=True, slots=True)
class _People:
    """Journeys whose purchases are looked at, with the moments of their first mail and of their offer."""

    run: Run
    place: int
    journeys: Ints
    mail_at: Ints
    offer_at: Ints
    lag: tuple[float, float]

    @classmethod
    def of(cls, run: Run, place: int, *, arm: str | None, gift: Send | None, period: Period | None = None) -> _People:
        walked = run.walked
        name = run.compiled.scenarios[place].scenario
        began = np.ones(len(walked.journeys), dtype=bool) if period is None else period.began(walked.journeys)
        went = walked.decisions[walked.decisions[:, m.D_STATUS] != m.STATUS_SKIPPED]
        went = went[began[went[:, m.D_JOURNEY]]]
        is_gift = [
            gift is not None and send.scenario == name and send.step_id == gift.id for send in run.compiled.sends
        ]
        offers = went[np.array(is_gift, dtype=bool)[went[:, m.D_SEND]] & (went[:, m.D_PLAIN] == 0)]
        mine = (
            began & (walked.journeys[:, m.J_SCENARIO] == place) & (walked.journeys[:, m.J_ENDED_BY] != m.END_SUPERSEDED)
        )
        if arm is not None:
            mine &= walked.journeys[:, m.J_ARM] == run.compiled.arms[place].index(arm)
        mail_at, offer_at = (_earliest(len(walked.journeys), decisions)[mine] for decisions in (went, offers))
        lag = (_median_lag(walked.journeys, _firsts(went), place), _median_lag(walked.journeys, _firsts(offers), place))
        return cls(run, place, walked.journeys[mine], mail_at, offer_at, lag)

    def offers_of(self, other: _People) -> Ints:
        """When the journeys of another replay of the same people came to the offer; NEVER where they did not."""
        if other is self:
            return self.offer_at
        keys = [
            # Of one moment there may be several beside each other: an event, or a key, tells them apart.
            pd.MultiIndex.from_arrays(
                [people.journeys[:, at] for at in (m.J_CUSTOMER, m.J_TRIGGER, m.J_EVENT, m.J_KEY)]
            )
            for people in (self, other)
        ]
        there = keys[1].get_indexer(keys[0])
        return np.where(there >= 0, other.offer_at[there], m.NEVER)

    def bought(self, window: Duration, *, offers: _People) -> tuple[int, pd.DataFrame]:
        """How many were mailed with a closed window, and one row per journey that bought."""
        offer_at = self.offers_of(offers)
        last = self._last()
        mailed = self.mail_at <= last - window.elapsed
        _, first = self._followed(mailed, self.mail_at, self.mail_at + window.elapsed)
        after = mailed.copy()
        after[mailed] = first < m.NEVER
        # Only an exit says that they bought before the mail: other journeys without a mail were stopped by a gate.
        early = (
            (self.mail_at == m.NEVER)
            & (self.journeys[:, m.J_ENDED_BY] == m.END_EXITED)
            & (self.journeys[:, m.J_ENTERED] + window.elapsed <= last)
        )
        _, soon = self._followed(early, self.journeys[:, m.J_ENTERED], self.journeys[:, m.J_ENDED])
        before = early.copy()
        before[early] = soon < m.NEVER
        trigger = self.journeys[:, m.J_TRIGGER]
        when = np.concatenate([soon[soon < m.NEVER], first[first < m.NEVER]])
        rows = np.concatenate([np.flatnonzero(before), np.flatnonzero(after)])
        late = offer_at[rows] < when
        phase = np.where(np.arange(len(rows)) < before.sum(), "before", np.where(late, "after_offer", "after_mail"))
        return int(mailed.sum()), pd.DataFrame(
            {
                "hours": (when - trigger[rows]) / HOUR,
                "mail_hours": _hours_since(self.mail_at[rows], trigger[rows]),
                "offer_hours": _hours_since(offer_at[rows], trigger[rows]),
                "phase": phase,
            }
        )

    def given(self, gift: Send | None, window: Duration) -> tuple[int, float]:
        """How many offers have run out, and what was paid within their validity."""
        if gift is None or gift.offer is None:
            return 0, float("nan")
        got = self.offer_at < m.NEVER
        until = np.full(len(got), m.NEVER, dtype=np.int64)
        until[got] = later(self.run, self.offer_at[got], self.journeys[got, m.J_CUSTOMER], gift.offer.valid or window)
        closed = got & (until <= self._last())
        _, first = self._followed(closed, self.offer_at, until)
        used = closed.copy()
        used[closed] = first < m.NEVER
        moments = np.where(used, 0, m.NEVER)
        moments[used] = first[first < m.NEVER]
        paid, _ = self._followed(used, self.offer_at, moments)
        known = self.run.compiled.goal_values[self.place] >= 0
        return int(closed.sum()), float(paid.sum()) if known else float("nan")

    def nobody(self) -> pd.DataFrame:
        """The table of purchases without a row."""
        columns = {"hours": float, "mail_hours": float, "offer_hours": float, "phase": object}
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()})

    def _last(self) -> int:
        return micros_of(self.run.until)

    def _followed(self, rows: np.ndarray[Any, Any], after: Ints, up_to: Ints) -> tuple[Floats, Ints]:
        """Value and moment of the goal in `(after, up_to]` of some rows."""
        bit = int(self.run.compiled.plan.scenarios[self.place, m.S_GOAL_BIT])
        _, total, first = within(
            self.run.marked,
            self.journeys[rows, m.J_CUSTOMER],
            after=after[rows],
            up_to=up_to[rows],
            known_by=self._last(),
            bit=bit,
            value=int(self.run.compiled.goal_values[self.place]),
        )
        return total, first


def _earliest(journeys: int, decisions: Ints) -> Ints:
    first = np.full(journeys, m.NEVER, dtype=np.int64)
    np.minimum.at(first, decisions[:, m.D_JOURNEY], decisions[:, m.D_AT])
    return first


def _firsts(decisions: Ints) -> Ints:
    """The first decision of each journey."""
    order = np.lexsort((decisions[:, m.D_AT], decisions[:, m.D_JOURNEY]))
    _, first = np.unique(decisions[order, m.D_JOURNEY], return_index=True)
    found: Ints = decisions[order[first]]
    return found


def _median_lag(journeys: Ints, decisions: Ints, place: int) -> float:
    """Hours from the trigger to the moment a mail was due, quiet hours left out."""
    of = journeys[decisions[:, m.D_JOURNEY]]
    mine = of[:, m.J_SCENARIO] == place
    if not mine.any():
        return float("nan")
    return float(np.median(decisions[mine, m.D_DUE] - of[mine, m.J_TRIGGER])) / HOUR


def _hours_since(moments: Ints, origin: Ints) -> Floats:
    known = moments < m.NEVER
    hours: Floats = np.where(known, (np.where(known, moments, 0) - origin) / HOUR, np.nan)
    return hours
