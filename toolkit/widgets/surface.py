"""What the tuning screen shows, computed ahead for every wait: exact mails, observed purchases, nothing guessed.

A discount moves no decision and no purchase that was made without it, so money is one number at each wait, times the
discount.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np

from toolkit.charts.own import place_of, whose
from toolkit.charts.purchases import EDGES, OwnPurchases, own_purchases
from toolkit.charts.sends import quiet_hours, sends_table, span_text
from toolkit.charts.style import hours_text
from toolkit.charts.sweeps import setting_text
from toolkit.engine import Run, replay
from toolkit.errors import NotSupportedError, ScenarioError
from toolkit.events import EventLog
from toolkit.scenario import Duration, Program, get_parameter, set_parameters
from toolkit.scenario.models import Offer, Send, every_step

__all__ = ["WAITS", "offer_step", "surface", "waits_with", "without_offer"]

WAITS = ("0s", "30m", "1h", "2h", "4h", "8h", "12h", "1d", "2d", "4d")
_WEEK = 7 * 86_400


def waits_with(program: Program, path: str, waits: Sequence[str | Duration]) -> list[Duration]:
    """The waits of the slider, from short to long, with the one the program has now among them.

    Args:
        program: scenarios and policies.
        path: of a wait.
        waits: what to offer.

    Raises:
        ScenarioError: no such path, or a wait that is not a duration.
        NotSupportedError: the path leads to something other than a length of time.
    """
    now = get_parameter(program, path)
    if not isinstance(now, Duration):
        raise NotSupportedError(f"{path}: the slider moves a wait such as '4h'; found {now!r}")
    try:
        every = {str(one): one for one in (*map(Duration.parse, waits), now)}
    except ValueError as error:
        raise ScenarioError(f"waits: {error}") from error
    return sorted(every.values(), key=lambda one: one.elapsed)


def offer_step(program: Program, path: str) -> tuple[str, str, float]:
    """Scenario, step and percent that a path such as `abandoned_cart.offer.offer.percent` leads to.

    Raises:
        ScenarioError: no such path.
        NotSupportedError: the path does not lead to the percent of a send step's offer.
    """
    now = get_parameter(program, path)
    scenario, _, rest = path.partition(".")
    step = rest.removesuffix(".offer.percent")
    sends = {one.id for one in every_step(program[scenario].steps) if isinstance(one, Send)} if rest else set()
    if step == rest or step not in sends or not isinstance(now, int | float):
        raise NotSupportedError(f"{path}: the slider moves the percent of an offer, <scenario>.<step>.offer.percent")
    return scenario, step, float(now)


def without_offer(program: Program, path: str) -> Program:
    """The program with no percent at a path: an offer of nothing else is no offer."""
    place = path.removesuffix(".percent")
    offer = get_parameter(program, place)
    if not isinstance(offer, Offer):
        return program
    rest: Any = offer.replace(percent=None) if offer.free_shipping or offer.amount is not None else None
    return set_parameters(program, {place: rest})


def surface(
    program: Program,
    log: EventLog,
    *,
    wait: str,
    offer: str | None,
    waits: Sequence[Duration],
    until: datetime | None = None,
) -> dict[str, Any]:
    """Everything the screen draws, as plain values.

    Args:
        program: scenarios and policies.
        log: what customers did.
        wait: path of the wait.
        offer: path of an offer's percent, or None.
        waits: every wait to show.
        until: the last moment decided; the end of the log unless given.

    Returns:
        Names, axes and one entry for each wait under `settings`.
    """
    name = wait.partition(".")[0]
    step = None if offer is None else offer_step(program, offer)[1]
    settings, own, run = [], None, None
    for one in waits:
        run = replay(set_parameters(program, {wait: str(one)}), log, until=until)
        own = own_purchases(run, scenario=name, offer=step)
        settings.append(_setting(run, own, one))
    if run is None or own is None:
        raise ScenarioError("waits: found none; give at least one, for example '4h'")
    mails = [send.step for send in run.compiled.sends if send.scenario == name]
    has_offer = offer is not None and own.offer is not None
    return {
        "scenario": name.replace("_", " "),
        "span": span_text(run),
        "basis": own.basis,
        "whose": whose(own),
        "window": own.window,
        "currency": own.currency,
        "mails": [mail.replace("_", " ") for mail in mails],
        "edges": ["0", *(hours_text(edge).replace(" min", "m").replace(" ", "") for edge in EDGES[1:])],
        "quiet": quiet_hours(run, name),
        "now": str(get_parameter(program, wait)),
        "offer": has_offer,
        "first": _is_first(settings),
        "settings": settings,
    }


def _setting(run: Run, own: OwnPurchases, wait: Duration) -> dict[str, Any]:
    """One wait: mails by hour for each step, purchases by stretch of time for each phase, and the shares."""
    name = own.scenario
    table = sends_table(run, scenario=name)
    steps = [send.step for send in run.compiled.sends if send.scenario == name]
    counts = own.counts()
    span = run.log.span
    seconds = (run.until - span[0]).total_seconds() if span else 0.0
    return {
        "wait": str(wait),
        "text": "no wait" if wait.elapsed == 0 else hours_text(wait.elapsed / 3_600_000_000),
        "tick": setting_text(str(wait)),
        "hours": [np.bincount(table.loc[table["step"] == step, "hour"], minlength=24).tolist() for step in steps],
        "sent": len(table),
        "week": len(table) / max(1.0, seconds / _WEEK),
        "own": [counts[phase].tolist() for phase in ("before", "after_mail", "after_offer")],
        "before": own.before,
        "after": own.after,
        "mails": own.mails,
        "before_rate": _known(own.before_rate),
        "after_rate": _known(own.after_rate),
        "given": _known(own.given_away(1)),
        "offers": own.offers,
        "marks": [
            {"place": place_of(lag), "text": f"{word} {hours_text(lag) if lag else 'at once'}"}
            for word, lag in zip(("mail", "offer"), own.lags, strict=True)
            if not math.isnan(lag) and (word == "mail" or lag > own.lags[0])
        ],
    }


def _known(value: float) -> float | None:
    """JSON has no NaN: what is not known is missing."""
    return None if math.isnan(value) else value


def _is_first(settings: list[dict[str, Any]]) -> bool:
    """Whether the offer stands in the first mail, so that no purchase lies between the two."""
    return not any(any(setting["own"][1]) for setting in settings)
